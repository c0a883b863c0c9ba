"""Attempts of one piece of work: when the next one comes, and when there is none any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import TypeVar

from mstream.domain.connector import RetryPolicy
from mstream.engine.meter import Meter
from mstream.errors import Halted, MstreamError, RetriesExhausted
from mstream.foundation.backoff import delays
from mstream.foundation.clock import Clock
from mstream.foundation.concurrency import first_of
from mstream.observability.logs import get_logger

log = get_logger(__name__)

T = TypeVar("T")


class Retry:
    """The attempts of one piece of work: counts them, waits between them, gives up."""

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        what: str,
        meter: Meter,
        clock: Clock,
        random: Random,
        halted: asyncio.Event,
        enough: Sequence[asyncio.Event] = (),
    ) -> None:
        """`enough`: ends a pause early, without an error."""
        self._enough = enough
        self._policy = policy
        self._what = what
        self._meter = meter
        self._clock = clock
        self._halted = halted
        self._random = random
        self.reset()

    def reset(self) -> None:
        """It has worked; the next failure is a first one."""
        self.attempts = 1
        self._delays = delays(base_ms=self._policy.base_ms, max_ms=self._policy.max_ms, random=self._random)

    @property
    def exhausted(self) -> bool:
        """No attempt is left."""
        return self._policy.max_attempts is not None and self.attempts >= self._policy.max_attempts

    async def pause(self, error: MstreamError) -> None:
        """Wait before the next attempt. Raises RetriesExhausted, or Halted when the run ends meanwhile."""
        self._meter.errors += 1
        self._meter.last_error_code, self._meter.last_error = error.code, str(error)
        if self.exhausted:
            message = f"{self._what}: given up after {self.attempts} attempts: {error}"
            raise RetriesExhausted(message) from error
        seconds = next(self._delays)
        if self.attempts == 1:
            log.warning(
                "retrying", stage=self._what, error_code=error.code, error=str(error), seconds=round(seconds, 3)
            )
        self.attempts += 1
        self._meter.retrying += 1
        try:
            await first_of(self._clock.sleep(seconds), self._halted, *self._enough)
        finally:
            self._meter.retrying -= 1
        if self._halted.is_set():
            raise Halted(self._what) from error


async def persistently(
    work: Callable[[], Awaitable[T]], attempts: Callable[[], Retry], *, only: type[MstreamError] = MstreamError
) -> T:
    """The answer of the first attempt that gives one; an error that is not retryable (or not of `only`) is raised.

    For work that may be done twice. Raises what `Retry.pause` raises.
    """
    retry: Retry | None = None
    while True:
        try:
            return await work()
        except MstreamError as error:
            if not error.retryable or not isinstance(error, only):
                raise
            retry = retry or attempts()
            await retry.pause(error)
