"""Several instances that want one lease: each with its own clock, its own way to the store, its own misfortunes.

Time is virtual. A rival's monotonic clock begins anywhere and runs a little fast or slow; its wall clock says
anything. Frozen, it goes on with nothing: neither with an answer that has come nor with a write that was decided.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from mstream.control.lease import Lease, kept
from mstream.control.standby import Standby
from mstream.domain.lease import Identity, from_document
from mstream.errors import StoreUnreachable
from mstream.foundation.concurrency import background
from mstream.foundation.processes import Process
from mstream.ports.documents import Collection, Document, Revision, Stored
from mstream.providers.memory.documents import MemoryDocuments
from mstream.stores.leases import LeaseStore

LEASE_SEC = 10.0


def true_time() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class World:
    """The store, what was ever written to it, and everybody who wants it."""

    random: Random
    store: Collection = field(default_factory=lambda: MemoryDocuments().collection("system"))
    #: Epoch and instance of every write, in the order in which they came through.
    writes: list[tuple[int, str]] = field(default_factory=list)
    rivals: list[Rival] = field(default_factory=list)
    #: The most owners that were valid at one moment of true time.
    most_valid: int = 0
    #: Somebody owned it when all misfortunes had been over for as long as a takeover may last.
    is_owned: bool = False

    def rival(self, **options: object) -> Rival:
        rival = Rival(self, len(self.rivals), **options)  # type: ignore[arg-type]  # its own options
        self.rivals.append(rival)
        return rival

    def look(self) -> None:
        """How many believe at this very moment that they own."""
        self.most_valid = max(self.most_valid, sum(each.owns for each in self.rivals))

    async def watch(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(0.25)

    @property
    def epochs(self) -> list[int]:
        """One per tenure, in the order of the writes."""
        found: list[tuple[int, str]] = []
        for each in self.writes:
            if not found or found[-1] != each:
                found.append(each)
        return [epoch for epoch, _ in found]


class Rival:
    """One instance, on a machine of its own."""

    def __init__(
        self,
        world: World,
        number: int,
        *,
        standby: type[Standby] = Standby,
        lease: type[Lease] = Lease,
        leases: type[LeaseStore] = LeaseStore,
        lease_sec: float = LEASE_SEC,
        rate: float = 1.0,
        slowest: float = 0.05,
    ) -> None:
        self.world = world
        self.number = number
        self.offset = world.random.uniform(0, 1e6)
        self.rate = rate
        self.slowest = slowest
        self.wall_offset = 0.0
        self.is_cut = False
        self.is_dead = False
        self.lease: Lease | None = None
        self.acquired = 0
        self.acquired_at: float | None = None
        self.has_owned = asyncio.Event()
        self.ending = asyncio.Event()
        self._awake = asyncio.Event()
        self._awake.set()
        process = Process(host=f"host-{number}", boot_id=f"boot-{number}", namespace="n", pid=1, started="1")
        self._identity = Identity(instance=f"rival-{number}", process=process, address=f"http://host-{number}")
        self._standby = lambda: standby(
            leases(Road(self), self), self._identity, clock=self, lease_sec=lease_sec, kind=lease
        )

    # -------------------------------------------------------------------------------------------------- as a Clock
    def monotonic(self) -> float:
        return self.offset + self.rate * true_time()

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=true_time() + self.wall_offset)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.rate)
        await self.awake()

    # ------------------------------------------------------------------------------------------------- misfortunes
    @contextmanager
    def frozen(self) -> Iterator[None]:
        self._awake.clear()
        yield
        self._awake.set()

    async def awake(self) -> None:
        await self._awake.wait()

    # -------------------------------------------------------------------------------------------------------- life
    @property
    def owns(self) -> bool:
        return self.lease is not None and not self.is_dead and self.lease.is_valid

    async def live(self) -> None:
        """Own as often as possible, until it is lost or it is time to end."""
        while not self.ending.is_set():
            await self.own_once()

    @asynccontextmanager
    async def living_first(self) -> AsyncIterator[None]:
        """Lives beside the body, which begins once it owns."""
        async with background(self.live()):
            await self.has_owned.wait()
            yield

    async def own_once(self) -> None:
        self.lease = await self._standby().acquire("wait", self.world.random)
        await self.awake()
        self.world.look()
        self.acquired += 1
        self.acquired_at = true_time()
        self.has_owned.set()
        async with kept(self.lease):
            waits = [asyncio.ensure_future(each.wait()) for each in (self.lease.lost, self.ending)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for each in waits:
                each.cancel()
            await self.awake()

    async def attempt(self, on_conflict: str = "wait") -> Lease:
        return await self._standby().acquire(on_conflict, self.world.random)  # type: ignore[arg-type]  # one of two


class Road:
    """A rival's way to the store: slow, sometimes cut, and answers may get lost on it."""

    def __init__(self, rival: Rival) -> None:
        self._rival = rival

    async def get(self, key: str) -> Stored | None:
        await self._there()
        found = await self._rival.world.store.get(key)
        await self._back()
        return found

    async def put(
        self, key: str, document: Document, *, expect: Revision | None = None, revision: Revision | None = None
    ) -> Revision:
        await self._there()
        written = await self._rival.world.store.put(key, document, expect=expect, revision=revision)
        tenure = from_document(document)
        self._rival.world.writes.append((tenure.epoch, tenure.identity.instance))
        await self._back()
        return written

    async def scan(self, *, after: str = "", limit: int = 1000) -> Sequence[Stored]:
        raise NotImplementedError

    async def delete(self, key: str, *, expect: Revision | None = None) -> bool:
        raise NotImplementedError

    async def _there(self) -> None:
        await self._rival.awake()
        await self._half("nothing has happened")

    async def _back(self) -> None:
        await self._half("it has happened")
        await self._rival.awake()

    async def _half(self, state: str) -> None:
        rival = self._rival
        await asyncio.sleep(rival.world.random.uniform(0, rival.slowest))
        if rival.is_dead:
            await asyncio.Event().wait()
        if rival.is_cut:
            await asyncio.sleep(rival.world.random.choice([0.0, 1.0, 5.0]))
            raise StoreUnreachable(f"cut off; {state}")
