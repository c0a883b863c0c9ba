"""Write batches to one sink, in order, with retry; report per-record outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random

from mstream.domain.batch import Batch
from mstream.domain.connector import RetryPolicy
from mstream.engine.attempts import Retry
from mstream.engine.control import RunControl
from mstream.engine.meter import Meter
from mstream.engine.transforms import Prepared, Refusal
from mstream.errors import Halted, LeaseLost, MstreamError, OutcomeUnknown
from mstream.foundation.clock import Clock
from mstream.ports.roles import Failure, Sink


class Deliverer:
    """One sink of a run.

    Deliveries begin in the order of the calls. Up to `sink.overlap` are under way at once; when one of them
    must be tried again, no other begins and it waits until it is the oldest, so that order is kept.
    """

    def __init__(  # noqa: PLR0913 - what a delivery depends on
        self,
        sink: Sink,
        *,
        index: int,
        name: str,
        policy: RetryPolicy,
        control: RunControl,
        meter: Meter,
        clock: Clock,
        random: Random,
        halted: asyncio.Event,
        is_gone: Callable[[int, str], bool],
        may_be_gone: Callable[[], bool],
    ) -> None:
        self.sink = sink
        self.index = index
        self.name = name
        self._policy = policy
        self._control = control
        self._meter = meter
        self._clock = clock
        self._random = random
        self._halted = halted
        self._is_gone = is_gone
        self._may_be_gone = may_be_gone
        self._under_way: list[int] = []
        #: Deliveries that must be tried again.
        self._troubled: set[int] = set()
        self._changed = asyncio.Condition()

    def retry(self) -> Retry:
        """Attempts for one write to this sink."""
        return Retry(
            self._policy,
            what=f"sink {self.name}",
            meter=self._meter,
            clock=self._clock,
            random=self._random,
            halted=self._halted,
        )

    async def deliver(self, sequence: int, prepared: Prepared) -> list[Refusal]:
        """Returns once every record is written or refused for good.

        Raises what makes the sink unusable; Halted when the run ends before all is written.
        """
        self._under_way.append(sequence)
        try:
            return await self._deliver(sequence, prepared)
        finally:
            async with self._changed:
                self._under_way.remove(sequence)
                self._troubled.discard(sequence)
                self._changed.notify_all()

    async def _deliver(self, sequence: int, prepared: Prepared) -> list[Refusal]:
        refusals: list[Refusal] = []
        left: Sequence[int] = range(len(prepared.batch))
        batch = prepared.batch
        retry: Retry | None = None
        while True:
            await self._behind_nothing(sequence)
            batch, left = self.present(sequence, batch, left)
            if not len(batch):
                return refusals
            self.check_lease()
            try:
                failures = await self.sink.write(batch)
                error: MstreamError | None = None
            except MstreamError as raised:
                if not raised.retryable and not isinstance(raised, OutcomeUnknown):
                    raise
                failures, error = (), raised
            retry = retry or self.retry()
            if error is None:
                again = [each for each in failures if each.error.retryable and not retry.exhausted]
                refusals += self.refusals(prepared, left, [each for each in failures if each not in again], retry)
                if not again:
                    return refusals
                error = again[0].error
                batch, left = batch.pick([each.index for each in again]), [left[each.index] for each in again]
            self._troubled.add(sequence)
            await self._oldest(sequence)
            await retry.pause(error)

    def refusals(
        self, prepared: Prepared, left: Sequence[int], failures: Sequence[Failure], retry: Retry
    ) -> list[Refusal]:
        """Failures of a write, counted in the batch as it was read."""
        return [
            Refusal(
                index=prepared.origin(left[each.index]),
                output=prepared.output(left[each.index]),
                error=each.error,
                stage=f"sink {self.name}",
                sink=self.index,
                attempts=retry.attempts,
            )
            for each in failures
        ]

    def present(self, sequence: int, batch: Batch, left: Sequence[int]) -> tuple[Batch, Sequence[int]]:
        """Without the records of lanes that this run has given up since they were read."""
        if not self._may_be_gone():
            return batch, left
        gone = {each for each in range(len(batch)) if self._is_gone(sequence, batch.lane_of(each))}
        return batch.without(gone), [each for index, each in enumerate(left) if index not in gone]

    def check_lease(self) -> None:
        """Raises LeaseLost once the run may not deliver any more."""
        until = self._control.lease_until
        if until is not None and self._clock.monotonic() >= until:
            message = "the owner has not renewed its lease in time; nothing more is delivered by this run"
            raise LeaseLost(message)

    async def has_room(self) -> None:
        """Returns when another delivery may begin."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._under_way) < self.sink.overlap and not self._troubled)

    async def _behind_nothing(self, sequence: int) -> None:
        """An older one may have failed after this one was let in, and before it began."""
        if self._troubled and min(self._troubled) < sequence:
            async with self._changed:
                await self._changed.wait_for(lambda: not self._troubled or min(self._troubled) >= sequence)
            if self._halted.is_set():
                message = "an older delivery has ended the run; nothing that comes behind it is written"
                raise Halted(message)

    async def _oldest(self, sequence: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._under_way[0] == sequence)
