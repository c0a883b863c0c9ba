"""Ways to servers: requests travel, take effect whatever becomes of those who sent them, and answers may be lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from mstream.errors import MstreamError, StoreUnreachable
from mstream.ports.documents import Document, Revision, Stored
from tests.persistence.lives import Life
from tests.persistence.witness import Witness

T = TypeVar("T")


@dataclass(frozen=True)
class Weather:
    """How a network is today."""

    #: Seconds that a message mostly takes at most, and rarely.
    usual: float = 0.02
    rare: float = 0.02
    #: How often it takes that long, and how often it is lost.
    slow: float = 0.0
    lost: float = 0.0

    def travel(self, random: Random) -> float:
        return random.uniform(0.001, self.rare if random.random() < self.slow else self.usual)


@dataclass
class Pitfall:
    """A life is frozen at its so many'th request from now, before or after it is sent."""

    requests: int
    seconds: float
    before: bool
    whom: Sequence[Life]


class Connection:
    """One life's way to a server."""

    def __init__(self, life: Life, random: Random, weather: Weather, world: Context) -> None:
        self.life = life
        self.is_cut = False
        self.is_dead = False
        self.pitfall: Pitfall | None = None
        self._random = random
        self._weather = weather
        self._world = world

    async def ask(self, act: Callable[[], T], gone: Callable[[], bool] = lambda: False) -> T:
        """One request and its answer. Raises StoreUnreachable when there is none."""
        falls = self._falls()
        if falls is not None and falls.before:
            await self._freeze(falls)
        if self.is_dead or gone():
            await asyncio.sleep(0.05)
            raise _unreachable()
        answer = asyncio.get_running_loop().create_future()
        self._later(self._weather.travel(self._random), self._arrived, act, answer)
        if falls is not None and not falls.before:
            await self._freeze(falls)
        found: T = await answer
        return found

    def _arrived(self, act: Callable[[], object], answer: asyncio.Future[Any]) -> None:
        if self._is_lost():
            self._later(self._random.uniform(0, 2), _give, answer, _unreachable(), None)
            return
        error, result = None, None
        try:
            result = act()
        except MstreamError as raised:
            error = raised
        self._later(self._weather.travel(self._random), self._answered, answer, error, result)

    def _answered(self, answer: asyncio.Future[Any], error: MstreamError | None, result: object) -> None:
        if self._is_lost():
            self._later(self._random.uniform(0, 2), _give, answer, _unreachable(), None)
        else:
            _give(answer, error, result)

    def _is_lost(self) -> bool:
        return self.is_cut or (self._weather.lost > 0 and self._random.random() < self._weather.lost)

    def _falls(self) -> Pitfall | None:
        falls = self.pitfall
        if falls is None:
            return None
        falls.requests -= 1
        if falls.requests > 0:
            return None
        self.pitfall = None
        return falls

    async def _freeze(self, falls: Pitfall) -> None:
        for each in falls.whom:
            each.freeze(falls.seconds, self._world)
        await asyncio.sleep(0)

    def _later(self, seconds: float, work: Callable[..., object], *args: object) -> None:
        asyncio.get_running_loop().call_later(seconds, work, *args, context=self._world)


class Wire:
    """Implements `Collection` by way of a connection."""

    def __init__(self, connection: Connection, server: Witness, name: str, epoch: Callable[[], int]) -> None:
        self._connection = connection
        self._server = server
        self._collection = server.documents.collection(name)
        self._name = name
        self._epoch = epoch

    async def get(self, key: str) -> Stored | None:
        return await self._connection.ask(lambda: answered(self._collection.get(key)))

    async def scan(self, *, after: str = "", limit: int = 1000) -> Sequence[Stored]:
        return await self._connection.ask(lambda: answered(self._collection.scan(after=after, limit=limit)))

    async def put(
        self, key: str, document: Document, *, expect: Revision | None = None, revision: Revision | None = None
    ) -> Revision:
        who, epoch = self._connection.life.name, self._epoch()

        def act() -> Revision:
            before = self._server.stored(self._name, key)
            done = answered(self._collection.put(key, document, expect=expect, revision=revision))
            self._server.written(who, epoch, self._name, key, before, document)
            return done

        return await self._connection.ask(act)

    async def delete(self, key: str, *, expect: Revision | None = None) -> bool:
        who, epoch = self._connection.life.name, self._epoch()

        def act() -> bool:
            before = self._server.stored(self._name, key)
            done = answered(self._collection.delete(key, expect=expect))
            self._server.deleted(who, epoch, self._name, key, before)
            return done

        return await self._connection.ask(act)


def answered(work: Coroutine[Any, Any, T]) -> T:
    """What a call that never waits answers."""
    try:
        work.send(None)
    except StopIteration as ended:
        found: T = ended.value
        return found
    raise AssertionError("it waits")


def _give(answer: asyncio.Future[Any], error: MstreamError | None, result: object) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(result)


def _unreachable() -> StoreUnreachable:
    return StoreUnreachable("no answer came")
