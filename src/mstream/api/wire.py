"""Response shapes, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from mstream.control.jobs import JobView
from mstream.control.member import MemberView
from mstream.domain.job import Job
from mstream.domain.plan import Damaged


def job_body(view: JobView) -> dict[str, Any]:
    """A job as it is shown: the fields of v0.47 first, then our own."""
    job, status = view.job, view.status
    return {
        "name": job.name,
        "started_at": job.started_at,
        "stopped_at": job.stopped_at,
        "state": job.state,
        "desired_state": job.desired_state,
        "linked_services": list(job.spec.service_names) if job.state == "running" else [],
        "pipeline": job.spec.model_dump(mode="json", exclude={"enabled"}),
        "intent": job.intent.value,
        "phase": job.phase.value,
        "run_id": job.run_id,
        "epoch": job.epoch,
        "attempts": job.attempts,
        "next_attempt_at": job.next_attempt_at,
        "last_error": _last_error(job),
        "origin": job.origin,
        "revision": view.revision,
        "script_versions": dict(view.script_versions),
        "last_change": asdict(job.last_change) if job.last_change else None,
        "counters": asdict(status),
        "members": [_member(each) for each in view.members],
    }


def damaged_body(document: Damaged) -> dict[str, Any]:
    """A stored document that cannot be used, in a job's place; what is unknown of it is null."""
    return {
        "name": document.name,
        "started_at": None,
        "stopped_at": None,
        "state": "failed",
        "desired_state": "stopped",
        "linked_services": [],
        "pipeline": None,
        "intent": None,
        "phase": "invalid",
        "last_error": {"reason": "document_damaged", "message": document.reason, "at": None, "retryable": False},
    }


def place_body(job: str, place: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint as it is shown: the fields of v0.47 first, then our own."""
    return {
        "job_name": job,
        "updated_at": _spelt(str(place["saved_at"])),
        "cursor": _cursor(place["positions"]),
        **place,
    }


def _member(view: MemberView) -> dict[str, Any]:
    return {
        "member": view.member,
        "run_id": view.run_id,
        "phase": view.phase.value,
        "restarts": view.restarts,
        "last_error": {"reason": view.reason, "message": view.message} if view.reason else None,
        "counters": asdict(view.status),
    }


def _spelt(timestamp: str) -> str:
    """As v0.47 spells times of checkpoints."""
    try:
        return f"{datetime.fromisoformat(timestamp).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except ValueError:
        return timestamp


def _cursor(positions: Mapping[str, Any]) -> dict[str, Any]:
    """The same position in the terms of v0.47, where it has any."""
    match list(positions.items()):
        case [(str(lane), {"next_offset": int(following)})] if "/" in lane:
            topic, _, partition = lane.rpartition("/")
            return {"source": "kafka", "topic": topic, "partition": int(partition), "offset": following - 1}
        case [(_, {"_data": _} as token)]:
            return {"source": "mongodb", "data": token}
        case _:
            return {"source": "unknown", "raw_bytes": len(str(positions))}


def message_body(text: str, item: dict[str, Any] | None = None) -> dict[str, Any]:
    """The answer to a command."""
    return {"message": text} if item is None else {"message": text, "item": item}


def _last_error(job: Job) -> dict[str, Any] | None:
    if job.failure is None:
        return None
    failure = job.failure
    return {
        "reason": failure.reason,
        "message": failure.message,
        "at": failure.at,
        "retryable": failure.retryable,
    }
