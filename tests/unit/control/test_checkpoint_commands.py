"""What operators do with checkpoints, and what is kept of it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from mstream.control.checkpoints import Checkpoints, require_at_rest, to_document
from mstream.domain.audit import Actor, Subject
from mstream.domain.checkpoint import Begin
from mstream.domain.connector import ConnectorSpec
from mstream.domain.job import Intent, Job, Phase
from mstream.domain.reset import ToBegin, ToPositions, ToWaypoint
from mstream.domain.service import ServiceConfig
from mstream.errors import IllegalTransition, NotFound, StaleOwner, StoreUnreachable, UsageError
from mstream.foundation.secrets import Secret
from mstream.providers import CATALOG
from mstream.providers.file.config import FileConfig
from mstream.providers.memory.documents import MemoryDocuments
from mstream.providers.sql.config import SqlConfig
from mstream.stores.audit import AuditLog
from mstream.stores.checkpoints import CheckpointStore
from tests.unit.stores.clocks import SteppedClock

ANNA = Actor(who="anna", where="127.0.0.1")
SPEC = ConnectorSpec.model_validate(
    {
        "name": "copy",
        "source": {"service_name": "files", "resource": "in.jsonl"},
        "sinks": [{"service_name": "files", "resource": "out.jsonl"}],
    }
)


@dataclass
class Owned:
    """The store's owner, until it is not."""

    epoch: int = 3
    is_ours: bool = True

    def require(self) -> None:
        if not self.is_ours:
            message = "not ours"
            raise StaleOwner(message)

    def forfeit(self, reason: str) -> None:
        self.is_ours = False


class Desk:
    """Checkpoints over memory, with an audit trail beside them."""

    def __init__(self, config: ServiceConfig | None = None) -> None:
        self.documents = MemoryDocuments()
        self.trail = MemoryDocuments()
        self.authority = Owned()
        self.audit = AuditLog(self.trail.collection("audit", key="key"))
        self.store = CheckpointStore(self.documents.collection("checkpoints", key="job_name"), SteppedClock())
        self.checkpoints = Checkpoints(
            self.store,
            service=lambda name: config or FileConfig(name=name, path="."),
            catalog=CATALOG,
            authority=self.authority,
            clock=SteppedClock(),
            audit=self.audit,
        )

    async def saved(self, position: int) -> None:
        await self.store.claim("copy", "one", 2, "f")
        await self.store.save("copy", {"": position}, "one", 2)


async def test_a_reset_writes_in_the_epoch_of_the_owner_and_is_kept_with_who_and_why() -> None:
    desk = Desk()
    await desk.saved(7)

    there = {"in.jsonl": {"file": "1:2:0:", "offset": 3}}
    checkpoint = await desk.checkpoints.reset(SPEC, ToPositions(positions=there), by=ANNA, reason="twice")

    place = (await desk.checkpoints.of("copy"))[0]
    (entry,) = await desk.audit.of(Subject.JOB, "copy")
    assert (checkpoint.epoch, checkpoint.positions) == (3, there)
    assert (place.by, place.reason) == (ANNA, "twice")
    assert (entry.change.verb, entry.change.by, entry.change.reason) == ("reset", ANNA, "twice")
    assert (entry.change.revision_before, entry.change.revision) == ("2.2", "3.3")


async def test_without_a_reason_the_place_is_one() -> None:
    desk = Desk()

    await desk.checkpoints.reset(SPEC, ToBegin(begin=Begin.NOW), by=ANNA)

    (entry,) = await desk.audit.of(Subject.JOB, "copy")
    assert entry.change.reason == "to now"


async def test_who_does_not_own_the_store_resets_nothing() -> None:
    desk = Desk()
    await desk.saved(7)
    desk.authority.forfeit("taken")

    with pytest.raises(StaleOwner):
        await desk.checkpoints.reset(SPEC, ToBegin(), by=ANNA)

    assert [each.positions for each in await desk.checkpoints.of("copy")] == [{"": 7}]
    assert await desk.audit.of(Subject.JOB, "copy") == []


async def test_a_place_that_the_source_does_not_have_changes_nothing() -> None:
    desk = Desk(SqlConfig(name="files", url=Secret("sqlite:///x.db")))
    await desk.saved(7)

    with pytest.raises(UsageError):
        await desk.checkpoints.reset(SPEC, ToBegin(begin=Begin.NOW), by=ANNA)
    with pytest.raises(NotFound):
        await desk.checkpoints.reset(SPEC, ToWaypoint(number=77), by=ANNA)

    assert [each.positions for each in await desk.checkpoints.of("copy")] == [{"": 7}]


async def test_an_audit_trail_that_does_not_answer_stops_no_reset() -> None:
    desk = Desk()
    await desk.saved(7)
    desk.trail.faults.append(StoreUnreachable("away"))

    await desk.checkpoints.reset(SPEC, ToBegin(), by=ANNA)

    assert (await desk.checkpoints.of("copy"))[0].by == ANNA


async def test_a_job_without_a_checkpoint_is_named() -> None:
    with pytest.raises(NotFound, match="'copy'"):
        await Desk().checkpoints.of("copy")


async def test_a_store_that_does_not_answer_is_not_taken_for_an_empty_one() -> None:
    desk = Desk()
    for attempt in (desk.checkpoints.of("copy"), desk.checkpoints.everything()):
        desk.documents.faults.append(StoreUnreachable("away"))
        with pytest.raises(StoreUnreachable):
            await attempt


@pytest.mark.parametrize("phase", Phase)
def test_only_a_job_at_rest_may_be_put_elsewhere(phase: Phase) -> None:
    job = Job(spec=SPEC, intent=Intent.RUNNING, phase=phase)
    if phase in {Phase.STOPPED, Phase.PAUSED, Phase.FAILED}:
        require_at_rest(job)
        return

    with pytest.raises(IllegalTransition, match=f"'copy' is {phase.value}; stop or pause it"):
        require_at_rest(job)


async def test_a_place_is_shown_with_what_it_takes_to_go_back_there() -> None:
    desk = Desk()
    await desk.saved(7)
    await desk.checkpoints.reset(SPEC, ToBegin(begin=Begin.NOW), by=ANNA)

    now, before = [to_document(each) for each in await desk.checkpoints.of("copy")]

    assert (now["entry"], now["begin"], now["by"]) == (3, "now", {"who": "anna", "where": "127.0.0.1"})
    assert (before["entry"], before["positions"], before["fingerprint"]) == (2, {"": 7}, "f")
    assert "by" not in before
