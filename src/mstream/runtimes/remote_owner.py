"""The Owner as a run sees it from another process: every call is a request that waits for its reply."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import count
from typing import Any

from mstream.domain.checkpoint import Lane, Position
from mstream.domain.dead_letter import DeadLetter
from mstream.ports.owner import LaneClaim
from mstream.runtimes.faults import error_of
from mstream.runtimes.messages import Reply, Request, Verb


class RemoteOwner:
    """Implements the `Owner` port over messages; errors come back as the classes that they were."""

    def __init__(self, run_id: str, send: Callable[[Request], None]) -> None:
        self._run_id = run_id
        self._send = send
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def save(self, positions: Mapping[Lane, Position | None]) -> None:
        """Returns once they are stored."""
        await self._ask(Verb.SAVE, dict(positions))

    async def claim(self, lanes: Collection[Lane]) -> Mapping[Lane, LaneClaim]:
        """These lanes are this run's from now on; answers where they stand."""
        claims: Mapping[Lane, LaneClaim] = await self._ask(Verb.CLAIM, list(lanes))
        return claims

    async def release(self, lanes: Collection[Lane]) -> None:
        """The run has no more to do with these lanes."""
        await self._ask(Verb.RELEASE, list(lanes))

    async def lookup(self, lanes: Collection[Lane]) -> Mapping[Lane, LaneClaim]:
        """The lanes' documents as they stand now."""
        claims: Mapping[Lane, LaneClaim] = await self._ask(Verb.LOOKUP, list(lanes))
        return claims

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Returns once they are stored."""
        await self._ask(Verb.BURY, list(letters))

    def answered(self, reply: Reply) -> None:
        """Hand an answer to whoever waits for it; one that nobody waits for any more is dropped."""
        waiting = self._waiting.pop(reply.request_id, None)
        if waiting is None or waiting.done():
            return
        if reply.fault is not None:
            waiting.set_exception(error_of(reply.fault))
        else:
            waiting.set_result(reply.result)

    async def _ask(self, verb: Verb, *args: Any) -> Any:  # noqa: ANN401 - each verb has its own answer
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._send(Request(run_id=self._run_id, request_id=number, verb=verb, args=args))
            return await answer
        finally:
            self._waiting.pop(number, None)
