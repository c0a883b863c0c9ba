"""Job documents: ours, those of v0.47, and those that cannot be used."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mstream.domain.audit import Actor, Change
from mstream.domain.job import Intent, Job, Phase, RunFailure
from mstream.ports.documents import ABSENT
from mstream.providers.memory.documents import MemoryDocuments
from mstream.stores.jobs import JobStore, from_document, to_document
from tests.unit.control.scripted import connector

#: As v0.47 writes it, with fields of some other version.
OLD: dict[str, Any] = {
    "name": "orders",
    "started_at": "2026-11-23T23:34:57.654843873Z",
    "stopped_at": None,
    "state": "running",
    "desired_state": "running",
    "linked_services": ["bus", "db"],
    "pipeline": {
        "name": "orders",
        "checkpoint": None,
        "source": {"service_name": "bus", "resource": "in", "input_encoding": "json", "output_encoding": "json"},
        "middlewares": [{"service_name": "u", "resource": "edit.rhai", "output_encoding": "json", "schema_id": None}],
        "sinks": [{"service_name": "db", "resource": "out", "output_encoding": "bson"}],
        "colour": "green",
        "batch": {"kind": "count", "size": 5, "shape": "round"},
    },
    "note": "kept",
}


def test_what_was_stored_is_read_back() -> None:
    change = Change(at="t", by=Actor(who="me", where="here"), verb="stop", revision="r", intent="stopped")
    job = Job(
        spec=connector("copy", max_in_flight=9),
        intent=Intent.PAUSED,
        phase=Phase.FAILED,
        run_id="run",
        epoch=7,
        attempts=3,
        failure=RunFailure(reason="access_denied", message="no", at="t"),
        origin="api",
        last_change=change,
    )

    found = from_document(to_document(job))

    assert replace(found, pipeline=None) == job
    assert to_document(found) == to_document(job)


def test_a_definition_of_an_older_program_stays_byte_for_byte_until_it_is_another() -> None:
    job = from_document(OLD)
    observed = to_document(replace(job, phase=Phase.RETRYING, attempts=2))

    assert (job.intent, job.phase) == (Intent.RUNNING, Phase.RUNNING)
    assert job.spec.batch is not None
    assert job.spec.batch.size == 5
    assert observed["pipeline"] == OLD["pipeline"]
    assert observed["note"] == "kept"
    assert {key: observed[key] for key in ("name", "started_at", "state", "desired_state")} == {
        key: OLD[key] for key in ("name", "started_at", "state", "desired_state")
    }
    changed = to_document(replace(job, spec=connector("orders"), pipeline=None))
    assert "colour" not in changed["pipeline"]


@pytest.mark.parametrize(
    ("ours", "theirs", "wanted"),
    [
        ("running", "running", Intent.RUNNING),
        ("finishing", "running", Intent.FINISHING),
        ("paused", "stopped", Intent.PAUSED),
        ("paused", "running", Intent.RUNNING),
        ("running", "stopped", Intent.STOPPED),
        ("finishing", "stopped", Intent.STOPPED),
    ],
)
def test_what_an_older_program_has_decided_since_wins(ours: str, theirs: str, wanted: Intent) -> None:
    assert from_document({**OLD, "intent": ours, "desired_state": theirs}).intent is wanted


@pytest.mark.parametrize(
    "changes",
    [
        {"pipeline": None},
        {"pipeline": {**OLD["pipeline"], "sinks": []}},
        {"pipeline": {**OLD["pipeline"], "name": "other"}},
        {"pipeline": {**OLD["pipeline"], "batch": {"kind": "count", "size": 0}}},
        {"pipeline": "planted"},
        {"desired_state": None, "intent": "planted"},
        {"phase": "planted"},
        {"epoch": "planted"},
        {"last_error": {"planted": 1}},
        {"last_change": {"planted": 1}},
    ],
    ids=str,
)
async def test_a_document_that_cannot_be_used_is_told_and_everything_else_is_there(changes: dict[str, Any]) -> None:
    documents = MemoryDocuments().collection("jobs")
    await documents.put("orders", {**OLD, **changes}, expect=ABSENT)
    await documents.put("fine", {**OLD, "name": "fine", "pipeline": {**OLD["pipeline"], "name": "fine"}})

    jobs, damaged = await JobStore(documents).everything()

    assert [each.job.name for each in jobs] == ["fine"]
    assert [each.name for each in damaged] == ["orders"]
    assert "orders" in damaged[0].reason
    assert "planted" not in damaged[0].reason
