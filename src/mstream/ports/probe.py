"""What a provider finds out when a service is tested, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a step of a test went."""

    OK = "ok"
    #: It works, but not everything that somebody may want of it.
    WARNING = "warning"
    FAILED = "failed"
    #: There was nothing to do, or an earlier step has failed.
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeStep:
    """One thing that must work, and whether it does. No text holds a secret."""

    #: A word of the provider's: `names`, `tcp`, `tls`, …
    name: str
    outcome: Outcome
    detail: str = ""
    #: What to do about it; empty where nothing is to be done.
    advice: str = ""
