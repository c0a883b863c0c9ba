"""Where a job's checkpoint is put by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, assert_never

from mstream.domain.audit import Actor
from mstream.domain.checkpoint import Begin, Checkpoint, Lane, Position, Waypoint, passed, waypoint
from mstream.errors import NotFound, UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class ToWaypoint:
    """To a place where the job stood before."""

    #: Its sequence.
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ToBegin:
    """To no position at all."""

    begin: Begin = Begin.CONFIGURED


@dataclass(frozen=True, slots=True, kw_only=True)
class ToPositions:
    """To positions that somebody knows."""

    positions: Mapping[Lane, Position]


Target = ToWaypoint | ToBegin | ToPositions


def described(target: Target) -> str:
    """The target in a few words."""
    match target:
        case ToWaypoint():
            return f"to entry {target.number}"
        case ToPositions():
            return "to a given position"
        case ToBegin(begin=Begin.BEGINNING):
            return "to the beginning"
        case ToBegin(begin=Begin.NOW):
            return "to now"
        case ToBegin():
            return "to where the source's options say"


def placed(to: Target, stood: Checkpoint, following: Checkpoint, *, by: Actor, reason: str) -> Checkpoint:
    """The checkpoint that follows, put there, with where the job stood in its history. Raises NotFound.

    It is nobody's: a save of the run before comes too late, and the next source claims it.
    """
    before = passed(stood.history, waypoint(stood))
    fresh = replace(following, fingerprint="", run_id="", begin=Begin.CONFIGURED, resets=_following(stood, following))
    match to:
        case ToBegin(begin=begin):
            put = replace(fresh, positions={}, begin=begin)
        case ToPositions(positions=positions):
            put = replace(fresh, positions=dict(positions))
        case ToWaypoint(number=number):
            at = _entry(stood, before, number)
            put = replace(fresh, positions=dict(at.positions), fingerprint=at.fingerprint, begin=at.begin)
        case _:
            assert_never(to)
    return replace(put, history=passed(before, waypoint(put, by=by, reason=reason or described(to))))


def _following(stood: Checkpoint, following: Checkpoint) -> int:
    """A number above that of every reset before, those of an earlier job of the name included: seconds since 1970."""
    now = datetime.fromisoformat(following.saved_at).timestamp() if following.saved_at else 0
    return max(stood.resets + 1, int(now))


def _entry(stood: Checkpoint, history: Sequence[Waypoint], number: int) -> Waypoint:
    for each in (waypoint(stood), *reversed(history)):
        if each.sequence == number:
            return each
    known = ", ".join(str(each.sequence) for each in reversed(history)) or "none"
    message = f"job {stood.job!r}: its checkpoint has no entry {number}; there are: {known}"
    raise NotFound(message)


def target_of(body: Mapping[str, Any]) -> Target:
    """What a request names: `entry`, `begin` or `positions`. Raises UsageError unless it is one of them."""
    match {key: value for key, value in body.items() if key != "reason"}:
        case {"entry": int(number), **rest} if not rest and not isinstance(number, bool):
            return ToWaypoint(number=number)
        case {"begin": str(begin), **rest} if not rest and begin in {"beginning", "now"}:
            return ToBegin(begin=Begin(begin))
        case {"positions": positions, **rest} if not rest:
            return ToPositions(positions=checked(positions))
        case _:
            message = 'name one place: {"entry": N}, {"begin": "beginning" | "now"} or {"positions": {LANE: POSITION}}'
            raise UsageError(message)


def to_body(to: Target) -> dict[str, Any]:
    """What `target_of` reads; empty for a job that begins as its source's options say."""
    match to:
        case ToWaypoint(number=number):
            return {"entry": number}
        case ToPositions(positions=positions):
            return {"positions": dict(positions)}
        case ToBegin(begin=begin):
            return {"begin": begin.value} if begin else {}
        case _:
            assert_never(to)


def positions_of(text: str) -> ToPositions:
    """Positions by lane, written as JSON; raises UsageError when they are not that."""
    try:
        value = json.loads(text, parse_constant=_refused)
    except ValueError as error:
        message = f"the position is not JSON: {_where(error)}"
        raise UsageError(message) from None
    return ToPositions(positions=checked(value))


def checked(value: object) -> dict[Lane, Position]:
    """The value, if it is positions by lane; raises UsageError when it is not."""
    if not isinstance(value, Mapping) or not value:
        message = 'positions are given by lane, as in {"": {"offset": 7}}; the only lane of a source is called ""'
        raise UsageError(message)
    for lane, position in value.items():
        if not isinstance(lane, str) or position is None or not _is_json(position):
            message = f"the position of lane {lane!r} is not a JSON value other than null"
            raise UsageError(message)
    return dict(value)


def _is_json(value: Any) -> bool:
    match value:
        case None | bool() | int() | str():
            return True
        case float():
            return math.isfinite(value)
        case list():
            return all(map(_is_json, value))
        case dict():
            return all(isinstance(key, str) and _is_json(each) for key, each in value.items())
        case _:
            return False


def _refused(constant: str) -> None:
    message = f"{constant} is no JSON value"
    raise ValueError(message)


def _where(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos + 1}"
    return str(error)
