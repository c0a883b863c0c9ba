"""All that a plan is made of is read as it stands, and nothing is written."""

from __future__ import annotations

from pathlib import Path

from mstream.config.document import ConfigFile
from mstream.control.planning import plan_start
from mstream.control.situation import KeptServices, Survey, marked_by, situation
from mstream.domain.plan import MarkerPhase, SeedMarker, StoredService
from mstream.ports.documents import ABSENT
from mstream.providers import CATALOG
from mstream.providers.memory.documents import MemoryDocuments
from mstream.stores.encryption import Key, KeyRing
from mstream.stores.jobs import JobStore
from mstream.stores.markers import KEY, MarkerStore
from tests.unit.config.loading import VALID, config
from tests.unit.control.situations import connector, decided, job
from tests.unit.control.vaults import SECRET, Faults, FaultyCollection, Home, change, filled, service


class Stores:
    """Jobs and marker in memory, with every write counted."""

    def __init__(self) -> None:
        self.faults = Faults()
        documents = MemoryDocuments()
        self.system = FaultyCollection(documents.collection("system"), self.faults)
        self.job_documents = FaultyCollection(documents.collection("jobs"), self.faults)
        self.jobs = JobStore(self.job_documents)
        self.markers = MarkerStore(self.system)

    async def survey(self, file: ConfigFile, services: KeptServices | None = None) -> Survey:
        return await situation(file, CATALOG, jobs=self.jobs, markers=self.markers, services=services)


async def test_an_empty_store_is_read_as_one(tmp_path: Path) -> None:
    file = config(tmp_path, VALID)

    survey = await Stores().survey(file, KeptServices())

    found = survey.situation
    assert (found.startup_state, found.connectors) == ("seed_from_file", file.connectors)
    assert list(found.services) == ["files", "db", "scripts", "_state"]
    assert (found.jobs, found.marker, found.keeps_jobs, found.keeps_services) == ((), None, True, True)
    assert survey.marker_revision == ABSENT


async def test_without_stores_nothing_is_kept(tmp_path: Path) -> None:
    survey = await situation(config(tmp_path, VALID), CATALOG, jobs=None, markers=None, services=None)

    assert (survey.situation.keeps_jobs, survey.situation.keeps_services) == (False, False)
    assert decided(plan_start(survey.situation)) == {"orders": ("start", "running")}


async def test_jobs_come_with_what_is_at_fault_and_with_their_revisions(tmp_path: Path) -> None:
    stores = Stores()
    fine = job(connector("fine", service="files"), "paused")
    revision = await stores.jobs.create(fine)
    await stores.jobs.create(job(connector("odd", service="scripts")))
    await stores.jobs.create(job(connector("lost", service="gone")))
    await stores.job_documents.put("torn", {"name": "torn", "pipeline": 7})

    survey = await stores.survey(config(tmp_path, VALID))

    assert [each.name for each in survey.situation.jobs] == ["fine", "lost", "odd"]
    assert {each.job.name: each.revision for each in survey.jobs}["fine"] == revision
    assert [each.name for each in survey.situation.damaged_jobs] == ["torn"]
    assert list(survey.situation.faulty_jobs) == ["odd"]
    assert decided(plan_start(survey.situation)) == {
        "orders": ("leave", None),
        "fine": ("leave", "paused"),
        "lost": ("invalid", "running"),
        "odd": ("invalid", "running"),
        "torn": ("invalid", None),
    }


async def test_the_marker_comes_with_its_revision(tmp_path: Path) -> None:
    stores = Stores()
    marker = SeedMarker(phase=MarkerPhase.BEGUN, file_hash="h", connectors=(connector("a"),))
    revision = await stores.markers.write(marker, expect=ABSENT)

    survey = await stores.survey(config(tmp_path, VALID))

    assert (survey.situation.marker, survey.marker_revision) == (marker, revision)


async def test_a_marker_that_cannot_be_read_is_told_and_hinders_nobody(tmp_path: Path) -> None:
    stores = Stores()
    await stores.system.put(KEY, {"phase": "half"})

    survey = await stores.survey(config(tmp_path, VALID))

    assert survey.situation.marker is None
    assert survey.situation.damaged_marker is not None
    assert decided(plan_start(survey.situation)) == {"orders": ("leave", None)}


async def test_stored_services_are_compared_without_telling_of_their_secrets(tmp_path: Path) -> None:
    home = Home(tmp_path)
    vault = await filled(home, 2)
    changed = service("s1", password="an0ther")
    file = config(tmp_path, VALID)
    file = file.model_copy(update={"services": (*file.services, service("s0"), changed)})
    definitions, damaged = await vault.store.everything()

    kept = KeptServices(definitions=definitions, damaged=damaged, mark=marked_by(vault.keys.ring))
    found = (await Stores().survey(file, kept)).situation

    assert found.services["s0"] == found.stored_services["s0"].digest
    assert found.services["s1"] != found.stored_services["s1"].digest
    assert {each.origin for each in found.stored_services.values()} == {"api"}
    assert SECRET not in repr(found.services)
    other = marked_by(KeyRing([Key(b"k" * 32)]))
    assert other(changed) != found.services["s1"]


async def test_jobs_may_use_services_of_the_file_and_stored_ones(tmp_path: Path) -> None:
    home = Home(tmp_path)
    vault = await filled(home, 1)
    await vault.store.create(service("unused"), origin="file", change=change("r9"), epoch=0)
    stores = Stores()
    sinks = [{"service_name": "s0", "resource": "c"}]
    await stores.jobs.create(job(connector("a", service="files", sinks=sinks)))
    definitions, _ = await vault.store.everything()

    found = (await stores.survey(config(tmp_path, VALID), KeptServices(definitions=definitions))).situation

    assert decided(plan_start(found))["a"] == ("resume", "running")
    assert found.stored_services["unused"] == StoredService(digest="", origin="file")


async def test_reading_writes_nothing_and_is_the_same_twice(tmp_path: Path) -> None:
    stores = Stores()
    await stores.jobs.create(job("a"))
    await stores.job_documents.put("torn", {"pipeline": 7})
    before, file = stores.faults.writes, config(tmp_path, VALID)

    first, second = await stores.survey(file), await stores.survey(file)

    assert stores.faults.writes == before
    assert first == second
