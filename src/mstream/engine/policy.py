"""What becomes of records that a step or a sink refuses for good."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from mstream.domain.batch import Batch
from mstream.domain.connector import ConnectorSpec, OnError
from mstream.engine.dead_letters import DeadLetters
from mstream.engine.meter import Meter
from mstream.engine.transforms import Refusal
from mstream.errors import FailureBudgetSpent, RecordStopped
from mstream.foundation.clock import Clock
from mstream.observability.logs import get_logger

log = get_logger(__name__)

#: Seconds between two log lines for the same kind of refusal.
_INTERVAL = 60.0


class FailurePolicy:
    """The connector's `on_error`, per record, with its failure budget."""

    def __init__(self, connector: ConnectorSpec, *, dead_letters: DeadLetters, meter: Meter, clock: Clock) -> None:
        self._job = connector.name
        self._on_error = connector.on_error
        self._budget = connector.failure_budget
        self._dead_letters = dead_letters
        self._meter = meter
        self._clock = clock
        self._given_up: deque[tuple[float, int]] = deque()
        self._logged: dict[tuple[str, str], float] = {}
        self._unlogged: Counter[tuple[str, str]] = Counter()

    @property
    def stops(self) -> bool:
        """A refused record ends the run."""
        return self._on_error is OnError.STOP

    def stopped(self, refusals: Sequence[Refusal]) -> RecordStopped:
        """The error of a run that ends at the first of these."""
        first = min(refusals, key=lambda each: each.index)
        message = (
            f"{first.stage} refused a record ({first.error.code}): {first.error}; "
            'mend the cause and start the job, or set on_error = "dead_letter" or "skip"'
        )
        return RecordStopped(message)

    async def give_up(self, batch: Batch, refusals: Sequence[Refusal]) -> None:
        """Returns once the records are where the policy says; they count as settled then.

        Raises DeadLettersFull, FailureBudgetSpent, or what the place of dead letters raises.
        """
        if not refusals:
            return
        self._meter.errors += len(refusals)
        self._meter.last_error_code, self._meter.last_error = refusals[0].error.code, str(refusals[0].error)
        self._spend(len(refusals))
        if self._on_error is OnError.DEAD_LETTER:
            await self._dead_letters.bury(batch, refusals)
            self._meter.records_dead_lettered += len(refusals)
        else:
            self._meter.records_skipped += len(refusals)
        self._log(refusals)

    def _spend(self, count: int) -> None:
        if self._budget is None:
            return
        now = self._clock.monotonic()
        self._given_up.append((now, count))
        while self._given_up and self._given_up[0][0] < now - self._budget.per_sec:
            self._given_up.popleft()
        total = sum(each for _, each in self._given_up)
        if total > self._budget.records:
            message = (
                f"{total} records were refused within {self._budget.per_sec} s, "
                f"the failure budget allows {self._budget.records}"
            )
            raise FailureBudgetSpent(message)

    def _log(self, refusals: Sequence[Refusal]) -> None:
        now = self._clock.monotonic()
        for each in refusals:
            self._unlogged[each.stage, each.error.code] += 1
        for kind in {(each.stage, each.error.code) for each in refusals}:
            if now - self._logged.get(kind, -_INTERVAL) < _INTERVAL:
                continue
            self._logged[kind] = now
            example = next(each for each in refusals if (each.stage, each.error.code) == kind)
            log.error(
                "records_given_up",
                stage=kind[0],
                error_code=kind[1],
                policy=self._on_error.value,
                count=self._unlogged.pop(kind),
                error=str(example.error),
            )
