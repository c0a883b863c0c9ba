"""Batches as lines, or as BSON documents, at the end of a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Literal, TypeVar

from mstream.domain.batch import Batch, Encoding, Form
from mstream.domain.connector import SinkRef
from mstream.foundation.concurrency import shielded
from mstream.ports.roles import Failure
from mstream.providers.file.appending import AppendedFile
from mstream.providers.file.config import FileSinkOptions
from mstream.providers.file.documents import whole_length
from mstream.providers.file.folder import Folder
from mstream.providers.file.framing import framed

_T = TypeVar("_T")


class FileSink:
    """Appends in a thread of its own; a batch is one write."""

    accepts: Form = Form.PAYLOADS
    overlap: int = 1

    def __init__(self, file: AppendedFile, executor: ThreadPoolExecutor, options: FileSinkOptions) -> None:
        self._file = file
        self._executor = executor
        self._fsync: Literal["checkpoint", "batch", "never"] = options.fsync
        self._refuse_deletes = options.on_delete == "error"
        self._is_unsafe = False

    async def write(self, batch: Batch) -> Sequence[Failure]:
        """Refuses what cannot be a part of the file; raises StorageFull, and then nothing of the batch is in it."""
        return await self._in_thread(lambda: self._append(batch))

    async def flush(self) -> None:
        """Returns once what was written is on the disk, unless `fsync = "never"`."""
        if self._fsync == "checkpoint" and self._is_unsafe:
            await self._in_thread(self._sync)

    def _append(self, batch: Batch) -> Sequence[Failure]:
        data, failures = framed(batch, refuse_deletes=self._refuse_deletes)
        if data:
            self._is_unsafe = True
            self._file.append(data)
            if self._fsync == "batch":
                self._file.sync()
        return failures

    def _sync(self) -> None:
        self._file.sync()
        self._is_unsafe = False

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


@asynccontextmanager
async def file_sink(folder: Folder, ref: SinkRef, options: FileSinkOptions) -> AsyncIterator[FileSink]:
    """Open a sink; raises AccessDenied when the resource leads out of the folder."""
    loop = asyncio.get_running_loop()
    executor = ThreadPoolExecutor(1, thread_name_prefix="file-sink")
    is_synced = options.fsync != "never"
    try:
        whole = whole_length if ref.output_encoding is Encoding.BSON else None
        file = AppendedFile(folder, ref.resource, rotate_bytes=options.rotate_bytes, is_synced=is_synced, whole=whole)
        try:
            await loop.run_in_executor(executor, file.open)
            yield FileSink(file, executor, options)
        finally:
            await shielded(_finished(loop, executor, file))
    finally:
        executor.shutdown()


async def _finished(loop: asyncio.AbstractEventLoop, executor: ThreadPoolExecutor, file: AppendedFile) -> None:
    await loop.run_in_executor(executor, file.close)
