"""Authority: in which epoch this process writes, and whether it still may."""

from __future__ import annotations

from typing import Protocol

from mstream.errors import StaleOwner


class Authority(Protocol):
    """What a lease says to those who write; see `control.lease`."""

    @property
    def epoch(self) -> int:
        """Grows with every owner; 0 where nobody else can own what is written."""

    def require(self) -> None:
        """Raises StaleOwner when the lease has run out or was taken."""

    def forfeit(self, reason: str) -> None:
        """Somebody newer was met: nothing more may be written by this process."""


class SoleOwner:
    """Where the state is this process's own there is nobody to fence off."""

    epoch = 0

    def require(self) -> None:
        """It always may."""

    def forfeit(self, reason: str) -> None:
        """Cannot happen, and must not pass unseen if it does."""
        message = f"a newer owner was met where there can be none: {reason}"
        raise StaleOwner(message)
