"""Stores that fail at a chosen write: before it, after it, once or for good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from mstream.errors import StoreUnreachable
from mstream.ports.documents import Collection, Document, Revision, Stored


class Fault(StrEnum):
    """What happens at the chosen write."""

    #: The owner is killed before it: nothing of it or of what follows is stored.
    KILLED_BEFORE = "killed_before"
    #: The owner is killed after it: it is stored, nothing of what follows is.
    KILLED_AFTER = "killed_after"
    #: It is refused once; what follows is stored.
    REFUSED = "refused"
    #: It is stored and its answer is lost; what follows is stored.
    UNANSWERED = "unanswered"


@dataclass
class Connection:
    """One owner's way to the store; counts writes over all collections."""

    #: The number of the write that goes wrong, from 1; None: none does.
    at: int | None = None
    fault: Fault = Fault.KILLED_BEFORE
    writes: int = 0
    is_dead: bool = False
    #: A write that is refused once, by its name, whatever its number.
    refuses: str | None = None
    #: What was written, for messages of tests.
    written: list[str] = field(default_factory=list)

    def before(self, what: str) -> None:
        """Called ahead of every write."""
        self.check()
        self.writes += 1
        self.written.append(what)
        if what == self.refuses:
            self.refuses = None
            raise _lost(what)
        if self.writes == self.at and self.fault in {Fault.KILLED_BEFORE, Fault.REFUSED}:
            self.is_dead = self.fault is Fault.KILLED_BEFORE
            raise _lost(what)

    def after(self, what: str) -> None:
        """Called after every write."""
        if self.writes == self.at and self.fault in {Fault.KILLED_AFTER, Fault.UNANSWERED}:
            self.is_dead = self.fault is Fault.KILLED_AFTER
            raise _lost(what)

    def check(self) -> None:
        """A killed owner reaches nothing."""
        if self.is_dead:
            raise _lost("the owner is dead")


class Faulty:
    """Implements `Collection` over another one, by way of a connection."""

    def __init__(self, inner: Collection, connection: Connection, name: str) -> None:
        self._inner = inner
        self._connection = connection
        self._name = name

    async def get(self, key: str) -> Stored | None:
        self._connection.check()
        return await self._inner.get(key)

    async def scan(self, *, after: str = "", limit: int = 1000) -> Sequence[Stored]:
        self._connection.check()
        return await self._inner.scan(after=after, limit=limit)

    async def put(
        self, key: str, document: Document, *, expect: Revision | None = None, revision: Revision | None = None
    ) -> Revision:
        what = f"put {self._name}/{key}"
        self._connection.before(what)
        done = await self._inner.put(key, document, expect=expect, revision=revision)
        self._connection.after(what)
        return done

    async def delete(self, key: str, *, expect: Revision | None = None) -> bool:
        what = f"delete {self._name}/{key}"
        self._connection.before(what)
        done = await self._inner.delete(key, expect=expect)
        self._connection.after(what)
        return done


def _lost(what: str) -> StoreUnreachable:
    message = f"the store does not answer ({what})"
    return StoreUnreachable(message)
