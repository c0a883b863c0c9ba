"""A record that was given up, with everything that is needed to try it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mstream.domain.checkpoint import Lane, Position


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One record that a step or a sink refused for good."""

    job: str
    run_id: str
    lane: Lane
    #: Where the source stood just after the record.
    position: Position
    #: Which of the outputs of its input it was; 0 where a record stays one.
    index: int
    #: The sink that refused it, by its place in the connector; None: an earlier step.
    sink: int | None
    #: decode, middleware, encode or sink, with the service's name.
    stage: str
    error_code: str
    error_message: str
    attempts: int
    #: The bytes as they came from the source; None: it was a tombstone.
    payload: bytes | None
    encoding: str
    record_key: bytes | None
    headers: Mapping[str, str]
    operation: str
    #: RFC 3339, UTC.
    at: str
