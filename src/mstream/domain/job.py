"""A job: what is intended, what was last observed, and what may follow what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mstream.domain.audit import Change
from mstream.domain.connector import ConnectorSpec


class Intent(StrEnum):
    """What an operator wants of a job; durable, and changed by commands alone."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    FINISHING = "finishing"


class Phase(StrEnum):
    """What was last observed of a job."""

    STOPPED = "stopped"
    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    RETRYING = "retrying"
    STOPPING = "stopping"
    PAUSED = "paused"
    FAILED = "failed"


#: What may follow what; the supervisor moves along these and nothing else does.
TRANSITIONS: Mapping[Phase, frozenset[Phase]] = {
    Phase.STOPPED: frozenset({Phase.STARTING, Phase.WAITING, Phase.PAUSED, Phase.FAILED}),
    Phase.WAITING: frozenset({Phase.STARTING, Phase.STOPPED, Phase.PAUSED, Phase.FAILED}),
    Phase.STARTING: frozenset(
        {Phase.RUNNING, Phase.STOPPING, Phase.RETRYING, Phase.FAILED, Phase.STOPPED, Phase.PAUSED}
    ),
    Phase.RUNNING: frozenset({Phase.STOPPING, Phase.RETRYING, Phase.FAILED, Phase.STOPPED}),
    Phase.RETRYING: frozenset(
        {Phase.STARTING, Phase.RUNNING, Phase.STOPPING, Phase.FAILED, Phase.STOPPED, Phase.PAUSED}
    ),
    Phase.STOPPING: frozenset({Phase.STOPPED, Phase.PAUSED, Phase.FAILED, Phase.STARTING}),
    Phase.PAUSED: frozenset({Phase.STARTING, Phase.WAITING, Phase.STOPPED, Phase.FAILED}),
    Phase.FAILED: frozenset({Phase.STARTING, Phase.WAITING, Phase.STOPPED, Phase.PAUSED}),
}


def may_follow(phase: Phase, before: Phase) -> bool:
    """Whether a job that was `before` may now be `phase`; staying is always allowed."""
    return phase is before or phase in TRANSITIONS[before]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailure:
    """Why a run ended, or why it is retrying."""

    reason: str
    message: str
    at: str
    retryable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A connector under management: definition, intent and what was last observed."""

    spec: ConnectorSpec
    intent: Intent
    phase: Phase = Phase.STOPPED
    run_id: str | None = None
    epoch: int = 0
    #: Failed attempts since the last stable run.
    attempts: int = 0
    started_at: str | None = None
    stopped_at: str | None = None
    #: When the next attempt begins, while retrying.
    next_attempt_at: str | None = None
    failure: RunFailure | None = None
    #: Who made the definition: "file" or "api".
    origin: str = "file"
    #: The last change of intent or definition; it rides in the write that made it.
    last_change: Change | None = None
    #: Its removal has begun and is completed at the next start at the latest.
    removing: bool = False
    #: Fields of the stored document that we do not know; they are kept.
    unknown: Mapping[str, Any] = field(default_factory=dict)
    #: The definition as it is stored, kept as it is for as long as it is not another; None: it was made here.
    pipeline: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """The job is called as its connector is."""
        return self.spec.name

    @property
    def state(self) -> str:
        """The wire's `state`: running, stopped or failed."""
        match self.phase:
            case Phase.FAILED:
                return "failed"
            case Phase.STOPPED | Phase.PAUSED | Phase.WAITING:
                return "stopped"
            case _:
                return "running"

    @property
    def desired_state(self) -> str:
        """The wire's `desired_state`: running or stopped."""
        return "running" if self.intent in {Intent.RUNNING, Intent.FINISHING} else "stopped"
