"""Kill the owner, workers, or a broker, while messages flow and members of the group come and go."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.chaos import kafka_findings
from tests.chaos.delivery import Broken, Delivery, Observer, Run
from tests.chaos.findings import Kill
from tests.chaos.flows import INTERVAL_MS
from tests.chaos.kafka_feed import Group, Numbers, Visitors
from tests.chaos.kafka_flows import BATCH, MAX_IN_FLIGHT, TopicTarget, numbers_of
from tests.chaos.processes import kill_all
from tests.servers.kafka import KafkaServer

_WHOM = ("owner", "worker", "both", "broker")
#: A worker whose owner is gone ends within 2 s; five times the room.
_ORPHANED = 10.0
#: How long the last owner may take for what is left, and to end in good order.
_TO_COMPLETE, _TO_END = 120.0, 60.0
#: A flow by transactions moves in steps, and stands while the group changes.
_MID_FLOW = 1.0
#: Repeats of one kill may cover so many intervals of flow.
_INTERVALS = 3


def run(
    target: type[TopicTarget],
    folder: Path,
    brokers: Sequence[KafkaServer],
    *,
    records: int,
    seed: int,
    kills: int,
    per_second: float,
    session_ms: int = 6000,
    room: float = 1,
    first: Sequence[str] = (),
) -> tuple[Run, dict[str, Any]]:
    """One flow on brokers that run, and what is reported of it; `first`: who is killed first. Raises Broken."""
    opened = target(folder, brokers, session_ms=session_ms)
    try:
        delivery = TopicDelivery(opened, records=records, per_second=per_second, seed=seed, room=room, first=first)
        found = delivery.run(kills=kills, seconds=None)
        return found, {**found.report(), "out_of_order": 0, **delivery.circumstances()}
    finally:
        opened.close()


def run_twin(target: type[TopicTarget], folder: Path, brokers: Sequence[KafkaServer], **options: Any) -> dict[str, Any]:
    """What the judge finds wrong with a flow that must fail; raises Broken when that is nothing."""
    try:
        run(target, folder, brokers, **options)
    except Broken as found:
        if ": twice: " in str(found):
            return {"flow": target.name, "found": str(found), "brokers": len(brokers)}
        raise
    raise Broken(f"{target.name}: nothing was found")


class TopicDelivery(Delivery):
    """Of records by key."""

    def __init__(
        self,
        target: TopicTarget,
        *,
        records: int,
        per_second: float,
        seed: int,
        room: float = 1,
        first: Sequence[str] = (),
    ) -> None:
        super().__init__(target, records=records, per_second=per_second, seed=seed, room=room)
        self._flow = target
        self._writer = Numbers(target.bootstrap, target.topic, at_least=records, per_second=per_second)
        self._group = Group(target.bootstrap, target.group, target.topic)
        self._visitors = Visitors(target.bootstrap, target.group, target.topic, seed=seed, session_ms=target.session_ms)
        self._deck = [*reversed(first)]
        #: A broker that is on its way back.
        self._returning: KafkaServer | None = None

    @property
    def visits(self) -> int:
        """How often a foreign member was given partitions."""
        return self._visitors.count

    def run(self, *, kills: int | None, seconds: float | None) -> Run:
        """As of a file, with visitors."""
        self._visitors.start()
        try:
            return super().run(kills=kills, seconds=seconds)
        finally:
            self._visitors.end()
            self._await_brokers()
            self._group.close()

    def circumstances(self) -> dict[str, int]:
        """What it went through besides kills."""
        return {
            "brokers": len(self._flow.brokers),
            "visits": self.visits,
            "twice_in_source": len(self._flow.input.rows) - self._run.records,
        }

    def _kill_one(self, observer: Observer) -> None:
        whom = self._whom()
        workers = self._owner.workers()
        if not workers:
            return
        mid_flow = self._flow.extent() > observer.extent(ago=_MID_FLOW)
        earlier = observer.extent(ago=self._room * _INTERVALS * INTERVAL_MS / 1000)
        if whom == "broker":
            self._kill_broker()
        elif whom == "worker":
            kill_all([self._random.choice(workers)])
        else:
            self._owner.kill()
            if whom == "both":
                kill_all(workers)
        after = self._flow.extent()
        self._run.kills.append(Kill(whom, mid_flow, earlier, after))
        if whom in {"owner", "both"}:
            self._owner.start()
        self._check_checkpoint()

    def _whom(self) -> str:
        """Each of them as often."""
        if not self._deck:
            self._deck = self._random.sample(_WHOM, len(_WHOM))
        return self._deck.pop()

    def _kill_broker(self) -> None:
        """It comes back after a moment; another one is killed only when it has."""
        self._await_brokers()
        broker = self._random.choice(self._flow.brokers)
        broker.crash()
        time.sleep(self._random.uniform(0.0, 1.0))
        broker.launch()
        self._returning = broker

    def _await_brokers(self) -> None:
        returning, self._returning = self._returning, None
        if returning is not None:
            returning.await_answer()

    def _complete(self) -> None:
        """Let the last owner deliver what is left, among its own, and end in good order."""
        self._visitors.end()
        self._await_brokers()
        self._owner.kill()
        if left := self._owner.left_behind(_ORPHANED):
            raise Broken(f"workers outlived their owner: {left}")
        self._owner.start()
        wanted, until = set(range(self._run.records)), time.monotonic() + _TO_COMPLETE
        while wanted - self._flow.numbers() and time.monotonic() < until:
            if self._owner.ended is not None:
                raise Broken(f"the last owner ended by itself with {self._owner.ended}: {self._log()}")
            time.sleep(0.2)
        while not self._owner.workers() and time.monotonic() < until:
            time.sleep(0.2)  # it would not know yet how to end in good order
        self._owner.terminate()
        if code := self._owner.wait(_TO_END):
            raise Broken(f"the last owner ended with {code}: {self._log()}")
        if left := self._owner.left_behind(_ORPHANED):
            raise Broken(f"workers outlived an owner that ended: {left}")

    def _check_checkpoint(self) -> None:
        """What the group keeps, and what is stored, was there before."""
        kept = {"the group's offsets cover": self._group.offsets(), "the checkpoint covers": self._flow.stored()}
        source = self._flow.input.up_to_now()
        self._flow.await_all()
        there, numbers = self._flow.numbers(), numbers_of(source)
        for what, offsets in kept.items():
            if missing := kafka_findings.not_covered(source, numbers, offsets, there):
                raise Broken(f"seed {self._run.seed}: {what} what is not there: {missing[:5]}; {self._log()}")

    def _check(self) -> None:
        self._check_checkpoint()
        written = numbers_of(self._flow.input.up_to_now())
        if missing := set(range(self._run.records)) - set(written):
            raise Broken(f"the source itself lacks {sorted(missing)[:5]}")
        arrived = self._flow.arrived()
        self._run.arrived, self._run.repeats = len(arrived), len(arrived) - len(written)
        is_once = self._flow.must_fail or self._flow.delivery == "effectively_once"
        wrong = kafka_findings.faults(arrived, self._flow.rows(), written, is_once=is_once)
        for what, found in wrong.items():
            where = self._where(found[:5])
            raise Broken(f"{self._run.flow}, seed {self._run.seed}: {what}: {len(found)}, such as {found[:5]}; {where}")
        if self._run.repeats > self._allowed():
            raise Broken(f"{self._run.flow}, seed {self._run.seed}: {self._run.repeats} repeats")
        if self._run.mid_flow * 3 < len(self._run.kills):
            raise Broken(f"only {self._run.mid_flow} of {len(self._run.kills)} kills fell in mid-flow")

    def _where(self, numbers: Sequence[object]) -> str:
        """Partition and offset of these, where they come from and where they have gone."""
        found = []
        for name, rows in (("source", self._flow.input.up_to_now()), ("target", self._flow.rows())):
            places = [
                f"{number} at {row.partition}/{row.offset}"
                for row, number in zip(rows, numbers_of(rows), strict=True)
                if number in numbers
            ]
            found.append(f"{name}: {', '.join(places)}")
        return "; ".join(found)

    def _allowed(self) -> int:
        """Of repeats, by all kills and visits: a few intervals of flow for each, and what the members have in hand."""
        window = self._flow.members * BATCH * (MAX_IN_FLIGHT + 1)
        kills = self._run.kills
        return sum(each.after - each.earlier for each in kills) + (len(kills) + self.visits + 1) * window
