"""Documents of checkpoints: ours, those that v0.47 has left, and what it takes for v0.47 to go on from ours."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from mstream.domain.audit import Actor
from mstream.domain.checkpoint import Begin, Checkpoint, Lane, Position, Waypoint, to_document
from mstream.encodings.cursors import cursor_of, positions_of
from mstream.errors import DecodeError, DocumentDamaged
from mstream.foundation.clock import timestamp
from mstream.ports.documents import Document

#: Fields that are not there when they would say nothing, or when v0.47 could do nothing with them.
_OPTIONAL: Final = frozenset({"begin", "voids_lanes", "resets", "history", "cursor"})


def is_of_v047(document: Document) -> bool:
    """Whether v0.47 has written it and nobody since."""
    return "cursor" in document and "positions" not in document


def read(job: str, document: Document) -> Checkpoint:
    """What a document says of the job. Raises DocumentDamaged when it cannot be used, whoever wrote it.

    Raises ProviderUnavailable for one of v0.47 where BSON cannot be read.
    """
    try:
        if is_of_v047(document):
            return _adopted(job, document)
        return Checkpoint(
            job=job,
            positions=_positions(document),
            fingerprint=_text(document, "fingerprint"),
            epoch=_number(document, "epoch"),
            sequence=_number(document, "sequence"),
            run_id=_text(document, "run_id"),
            saved_at=_text(document, "saved_at"),
            begin=_begin(document),
            voids_lanes=document.get("voids_lanes", False) is True,
            resets=_number(document, "resets"),
            history=tuple(_waypoint(each) for each in _entries(document)),
        )
    except (_Wrong, DecodeError) as error:
        message = (
            f"job {job!r}: its stored checkpoint cannot be used: {error}; to begin anew: mstream checkpoints reset"
        )
        raise DocumentDamaged(message) from None


def written(
    checkpoint: Checkpoint, key: str, *, before: Checkpoint, document: Document, now: datetime
) -> dict[str, Any]:
    """The document of a checkpoint in the place of another one, whose fields that we do not know it keeps.

    `updated_at` is what v0.47 tells the newest by: it grows even when the clock was set back.
    """
    history = document.get("history")
    document = {name: value for name, value in document.items() if name not in _OPTIONAL}
    document.update(to_document(checkpoint), job_name=key)
    if checkpoint.history:
        same = checkpoint.history is before.history
        document["history"] = history if same else [_kept(each) for each in checkpoint.history]
    cursor = cursor_of(checkpoint.positions)
    if cursor is not None:
        document["cursor"] = cursor
    if cursor is not None or "updated_at" in document:
        last = document.get("updated_at")
        following = last + 1 if isinstance(last, int) else 0
        document["updated_at"] = max(int(now.timestamp() * 1000), following)
    return document


def blank(job: str, document: Document) -> Checkpoint:
    """What can still be told of a damaged document: how far its order had come, so that a reset comes after it."""

    def number(name: str) -> int:
        value = document.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0

    return Checkpoint(job=job, epoch=number("epoch"), sequence=number("sequence"), resets=number("resets"))


class _Wrong(Exception):
    """A field is not what it must be."""


def _adopted(job: str, document: Document) -> Checkpoint:
    """Without a fingerprint: the source that claims it first has it."""
    at = document.get("updated_at")
    saved_at = ""
    if isinstance(at, int):
        try:
            saved_at = timestamp(datetime.fromtimestamp(at / 1000, UTC))
        except (ValueError, OverflowError, OSError):
            saved_at = ""
    return Checkpoint(job=job, positions=positions_of(document["cursor"]), saved_at=saved_at)


def _positions(document: Mapping[str, Any]) -> dict[Lane, Position]:
    positions = document.get("positions")
    if not isinstance(positions, Mapping) or not all(isinstance(lane, str) for lane in positions):
        message = "it has no positions by lane"
        raise _Wrong(message)
    return dict(positions)


def _entries(document: Document) -> list[Mapping[str, Any]]:
    history = document.get("history", [])
    if not isinstance(history, list) or not all(isinstance(each, Mapping) for each in history):
        message = "its history is no list of entries"
        raise _Wrong(message)
    return history


def _waypoint(entry: Mapping[str, Any]) -> Waypoint:
    by = entry.get("by")
    if by is not None and not isinstance(by, Mapping):
        message = "by whom it was put there is no name and place"
        raise _Wrong(message)
    return Waypoint(
        positions=_positions(entry),
        fingerprint=_text(entry, "fingerprint"),
        epoch=_number(entry, "epoch"),
        sequence=_number(entry, "sequence"),
        run_id=_text(entry, "run_id"),
        saved_at=_text(entry, "saved_at"),
        begin=_begin(entry),
        by=None if by is None else Actor(who=_text(by, "who"), where=_text(by, "where")),
        reason=_text(entry, "reason"),
    )


def _kept(each: Waypoint) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "positions": dict(each.positions),
        "fingerprint": each.fingerprint,
        "epoch": each.epoch,
        "sequence": each.sequence,
        "run_id": each.run_id,
        "saved_at": each.saved_at,
    }
    if each.begin:
        entry["begin"] = each.begin.value
    if each.by is not None:
        entry.update(by={"who": each.by.who, "where": each.by.where}, reason=each.reason)
    return entry


def _begin(document: Mapping[str, Any]) -> Begin:
    try:
        return Begin(_text(document, "begin"))
    except ValueError:
        message = "its 'begin' is not one that this version knows"
        raise _Wrong(message) from None


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name, "")
    if not isinstance(value, str):
        message = f"its {name!r} is no text"
        raise _Wrong(message)
    return value


def _number(document: Mapping[str, Any], name: str) -> int:
    value = document.get(name, 0)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        message = f"its {name!r} is no whole number"
        raise _Wrong(message)
    return value
