"""Lines of followed files as batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from mstream.domain.batch import Batch, Encoding
from mstream.domain.checkpoint import Lane, Position
from mstream.domain.connector import SourceRef
from mstream.domain.run import Lag
from mstream.foundation.concurrency import shielded
from mstream.ports.roles import Limit, Resume
from mstream.providers.file.config import FileSourceOptions
from mstream.providers.file.folder import Folder
from mstream.providers.file.following import Following
from mstream.providers.file.lines import Chunk

_T = TypeVar("_T")

#: Seconds between two looks at files in which nothing happens.
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 0.25


class FileSource:
    """Reads in a thread of its own, so that a slow disk never blocks the loop.

    Whatever the thread has read is handed out exactly once, also when the reader that
    asked for it was cancelled: the next one takes up the same step.
    """

    def __init__(self, following: Following, executor: ThreadPoolExecutor, encoding: Encoding) -> None:
        self._following = following
        self._executor = executor
        self._encoding = encoding
        self._step: asyncio.Future[Chunk | None] | None = None
        self._rest: Chunk | None = None
        self._is_finishing = False

    async def read(self, limit: Limit) -> Batch | None:
        """Waits for lines; an empty batch says where a lane begins, or that it has ended."""
        pause = FIRST_PAUSE
        while self._rest is None:
            is_last_look = self._is_finishing and self._step is None
            self._rest = await self._next_chunk(limit.bytes)
            if self._rest is None:
                if is_last_look:
                    return None
                if not self._is_finishing:
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, LONGEST_PAUSE)
        chunk, self._rest = self._rest.split(limit.records, limit.bytes)
        return Batch(
            payloads=chunk.payloads,
            encoding=self._encoding,
            marks=chunk.marks(),
            positions={chunk.lane: chunk.position},
        )

    def positions(self, batch: Batch, count: int) -> Mapping[Lane, Position | None]:
        """Each record's mark is the position after it."""
        if count >= len(batch) or batch.marks is None:
            return batch.positions
        if batch.lanes is None:
            return {batch.lane: batch.marks[count - 1]} if count else {}
        return {batch.lanes[index]: batch.marks[index] for index in range(count)}

    async def ack(self, positions: Mapping[Lane, Position | None]) -> None:
        """Nothing to do: files are kept by those who write them."""

    async def lag(self) -> Mapping[Lane, Lag]:
        """Bytes that were not handed out yet."""
        behind = await self._in_thread(self._following.lag)
        for waiting in (self._rest, self._unclaimed()):
            if waiting is not None and waiting.lane in behind:
                behind[waiting.lane] += waiting.end - waiting.start
        return {lane: Lag(bytes=count) for lane, count in behind.items()}

    async def finish(self) -> None:
        """From now on `read` ends once the present ends of all files are passed."""
        await self._in_thread(self._following.finish)
        self._is_finishing = True

    async def prepare(self, folder: Folder) -> None:
        """Raises ResourceMissing when there is no folder to look into; a file may come later."""
        await self._in_thread(folder.require)

    async def close(self) -> None:
        """Returns when the thread has let go of the files."""
        if self._step is not None:
            await asyncio.wait({self._step})
            self._step.exception()
        await self._in_thread(self._following.close)

    async def _next_chunk(self, size: int) -> Chunk | None:
        if self._step is None:
            self._step = self._begun(size)
        if not self._step.done():
            # `wait` leaves the step alone when this reader is cancelled
            await asyncio.wait({self._step})
        step, self._step = self._step, None
        chunk = step.result()
        if chunk is not None:
            # the thread reads on while this one travels
            self._step = self._begun(size)
        return chunk

    def _begun(self, size: int) -> asyncio.Future[Chunk | None]:
        return asyncio.get_running_loop().run_in_executor(self._executor, self._following.step, size)

    def _unclaimed(self) -> Chunk | None:
        step = self._step
        return step.result() if step is not None and step.done() and not step.exception() else None

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


@asynccontextmanager
async def file_source(
    folder: Folder, ref: SourceRef, options: FileSourceOptions, resume: Resume
) -> AsyncIterator[FileSource]:
    """Open a source; raises AccessDenied when the resource leads out of the folder."""
    folder.check(ref.resource)
    following = Following(folder, ref.resource, from_end=options.start == "end", positions=resume.positions)
    executor = ThreadPoolExecutor(1, thread_name_prefix="file-source")
    source = FileSource(following, executor, ref.input_encoding or Encoding.JSON)
    try:
        await source.prepare(folder)
        yield source
    finally:
        try:
            await shielded(source.close())
        finally:
            executor.shutdown()
