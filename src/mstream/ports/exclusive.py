"""Exclusive protocol: a document store that lies on this machine's disk, where the system can lock it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable


@runtime_checkable
class Exclusive(Protocol):
    """Optional for a DocumentStore."""

    def lock_path(self) -> Path | None:
        """The file whose lock the owner of the store holds; None: nobody else can reach the store, or by a network."""
