"""What follows the end of a run that nobody asked for: another attempt, or giving up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from mstream.domain.connector import RetryPolicy
from mstream.domain.run import Ending, Outcome
from mstream.errors import StoreUnreachable
from mstream.foundation.backoff import delays

#: Seconds after which a run counts as stable: what failed before it is forgotten.
STABLE_SEC = 600.0
#: What a job waits for instead of failing: it is not the job's fault, and passes.
AWAITED = frozenset({StoreUnreachable.code})
#: So many workers may a job cost without a newer position.
WORKERS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """The job has failed, until somebody starts it again."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TryAgain:
    """The next run begins after this long."""

    reason: str
    message: str
    seconds: float


class Recovery:
    """Counts one job's failures in a row; decides, does nothing."""

    def __init__(self, policy: RetryPolicy, random: Random) -> None:
        self._policy = policy
        self._random = random
        self._delays: Iterator[float] = iter(())
        self._lost_workers = 0
        self.attempts = 0
        self.forget()

    def forget(self) -> None:
        """The count begins anew: an operator has stepped in, or a run was stable."""
        self.attempts = 0
        self._lost_workers = 0
        self._delays = delays(base_ms=self._policy.base_ms, max_ms=self._policy.max_ms, random=self._random)

    def after(self, outcome: Outcome, *, seconds: float, moved: bool) -> GiveUp | TryAgain:
        """`seconds`: how long the run was up; `moved`: it has saved a newer position."""
        if seconds >= STABLE_SEC:
            self.forget()
        if moved:
            self._lost_workers = 0
        reason = outcome.reason or outcome.ending.value
        message = outcome.message or "the run ended without being told to"
        if not outcome.retryable and outcome.ending is Ending.FAILED:
            return GiveUp(reason=reason, message=message)
        if reason in AWAITED:
            return TryAgain(reason=reason, message=message, seconds=next(self._delays))
        self.attempts += 1
        if outcome.charged:
            self._lost_workers += 1
            if self._lost_workers >= WORKERS:
                why = f"{WORKERS} workers were lost without a newer position; the last one: {message}"
                return GiveUp(reason="worker_lost", message=why)
        limit = self._policy.max_attempts
        if limit is not None and self.attempts >= limit:
            return GiveUp(reason=reason, message=f"given up after {self.attempts} attempts: {message}")
        return TryAgain(reason=reason, message=message, seconds=next(self._delays))
