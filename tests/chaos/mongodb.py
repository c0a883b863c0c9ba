"""Kill the owner, a worker, or both, at random moments while the changes of a collection flow."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.chaos.delivery import Broken, Delivery, Run
from tests.chaos.mongodb_feed import GONE, Changes, Inserts
from tests.chaos.mongodb_flows import Mirror, StreamTarget, WholeMirror

#: How long the first events may take to arrive.
_PATIENCE = 60.0


def run(
    target: type[StreamTarget],
    folder: Path,
    *,
    records: int,
    seed: int,
    kills: int | None,
    seconds: float | None,
    per_second: float,
    room: float = 1,
) -> Run:
    """One flow on a stand-in of its own; raises Broken."""
    server = target.server()
    try:
        server.start()
        opened = target(folder, server)
        try:
            delivery = _kind_of(opened)(opened, records=records, per_second=per_second, seed=seed, room=room)
            return delivery.run(kills=kills, seconds=seconds)
        finally:
            opened.close()
    finally:
        server.remove()


def report(run: Run, target: type[StreamTarget]) -> dict[str, Any]:
    """As it stands in the file of results; what comes again by key is not seen, so nothing is said of it."""
    found = {**run.report(), "server": target.server.__name__}
    if issubclass(target, Mirror):
        del found["repeats"]
    return found


class StreamDelivery(Delivery):
    """Of records that are inserted, each once."""

    def __init__(self, target: StreamTarget, *, records: int, per_second: float, seed: int, room: float = 1) -> None:
        super().__init__(target, records=records, per_second=per_second, seed=seed, room=room)
        self._stream = target
        self._writer = Inserts(target.orders, at_least=records, per_second=per_second)

    def run(self, *, kills: int | None, seconds: float | None) -> Run:
        """As of a file, once the program's stream is open: it tells of what comes after that."""
        try:
            self._prime()
        finally:
            self._owner.stop()
        return super().run(kills=kills, seconds=seconds)

    def _prime(self) -> None:
        self._owner.start()
        until = time.monotonic() + _PATIENCE
        while self._stream.token() is None:
            self._look(until)
            self._stream.feed.prime()
            time.sleep(0.2)
        while self._stream.checkpoint() < 0:
            self._look(until)
            time.sleep(0.02)

    def _look(self, until: float) -> None:
        if self._owner.ended is not None or time.monotonic() > until:
            raise Broken(f"the first events do not arrive: {self._log()}")


class MirrorDelivery(StreamDelivery):
    """Of a collection whose documents are changed and deleted: in the end the other one is the same."""

    def __init__(self, target: Mirror, *, records: int, per_second: float, seed: int, room: float = 1) -> None:
        super().__init__(target, records=records, per_second=per_second, seed=seed, room=room)
        self._mirror = target
        self._changes = Changes(target.orders, at_least=records, per_second=per_second, seed=seed)
        self._writer = self._changes

    def _check_checkpoint(self) -> None:
        checkpoint = self._mirror.checkpoint()
        if behind := not_covered(list(self._changes.log), checkpoint, self._mirror.arrived()):
            raise Broken(f"the checkpoint covers {checkpoint} events, not there: {behind[:5]}")

    def _check(self) -> None:
        original, copy = self._mirror.original(), self._mirror.arrived()
        self._run.arrived = len(copy)
        if found := differences(original, copy):
            raise Broken(f"{self._run.flow}, seed {self._run.seed}: differ: {len(found)}, such as {found[:5]}")
        if self._run.mid_flow * 3 < len(self._run.kills):
            raise Broken(f"only {self._run.mid_flow} of {len(self._run.kills)} kills fell in mid-flow")


class WholeMirrorDelivery(MirrorDelivery):
    """Of a collection with documents: nothing must be there before the program starts for the first time."""

    def _prime(self) -> None:
        self._changes.fill()

    def _check_checkpoint(self) -> None:
        """A position within the documents that were there says nothing of their changes; the end says it all."""


def _kind_of(target: StreamTarget) -> type[StreamDelivery]:
    match target:
        case WholeMirror():
            return WholeMirrorDelivery
        case Mirror():
            return MirrorDelivery
    return StreamDelivery


def not_covered(log: Sequence[tuple[str, int]], checkpoint: int, copy: Sequence[dict[str, Any]]) -> list[str]:
    """Documents that are older, in the copy, than so many events have left them; one that goes later may be gone."""
    there: Mapping[str, int] = {each["_id"]: each["version"] for each in copy}
    last = dict(log)
    found = []
    for key, version in dict(log[:checkpoint]).items():
        is_there = key in there
        is_fine = not is_there if version == GONE else there[key] >= version if is_there else last[key] == GONE
        if not is_fine:
            found.append(f"{key} in version {version}: {there.get(key, 'gone')}")
    return found


def differences(original: Sequence[dict[str, Any]], copy: Sequence[dict[str, Any]]) -> list[str]:
    """Ids of documents that only one has, or that are not the same, the order of their fields included."""
    one, other = ({each["_id"]: list(each.items()) for each in documents} for documents in (original, copy))
    return sorted(each for each in {*one, *other} if one.get(each) != other.get(each))
