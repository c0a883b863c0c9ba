"""Bulk writes with per-record outcomes; the checkpoint in the same transaction where possible."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from mstream.domain.batch import Batch, Form, JsonMode, Operation
from mstream.domain.connector import SinkRef
from mstream.ports.checkpoints import PendingCheckpoint
from mstream.ports.roles import Failure

from .config import Dialect, SqlSinkOptions
from .keys import described
from .service import SqlService
from .thread import CallThread, call_thread
from .writer import TableWriter

#: Records in one transaction of SQLite: well under a second, since everybody else waits for its lock.
_PIECE = 5000


class SqlSink:
    """One table; records as documents."""

    accepts = Form.DOCUMENTS
    overlap = 1

    def __init__(
        self, writer: TableWriter, thread: CallThread, dialect: Dialect, options: SqlSinkOptions, mode: JsonMode
    ) -> None:
        self._writer = writer
        self._thread = thread
        self._options = options
        self._mode = mode
        self._in_pieces = dialect is Dialect.SQLITE

    async def write(self, batch: Batch) -> Sequence[Failure]:
        """Returns once everything that was not refused is committed."""
        failures: list[Failure] = []
        start = 0
        for piece in batch.slices(_PIECE) if self._in_pieces else [batch]:
            documents, operations = described(piece, self._options, self._mode)
            found = await self._thread.run(lambda d=documents, o=operations: self._writer.write(d, o))  # type: ignore[misc]  # bound per turn
            failures += (Failure(index=start + each.index, error=each.error) for each in found)
            start += len(piece)
        return failures

    async def write_with(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> Sequence[Failure]:
        """Everything and the checkpoint in one transaction, the checkpoint last; nothing if anything is refused."""
        told = [described(each, self._options, self._mode) for each in batches]
        documents = [each for some, _ in told for each in some]
        operations: list[Operation] | None = None
        if any(some is not None for _, some in told):
            operations = [each for rows, some in told for each in some or [Operation.INSERT] * len(rows)]
        return await self._thread.run(lambda: self._writer.write(documents, operations, checkpoint.entries))


@asynccontextmanager
async def open_sink(live: SqlService, ref: SinkRef, options: SqlSinkOptions) -> AsyncIterator[SqlSink]:
    """A sink with a connection, and a thread, of its own; in memory there is but one of both."""
    async with AsyncExitStack() as stack:
        thread = live.thread
        if not live.in_memory:
            thread = await stack.enter_async_context(call_thread(f"sql-{ref.resource}"))
        writer = TableWriter(live, ref.resource, options)
        try:
            yield SqlSink(writer, thread, live.dialect, options, ref.mode)
        finally:
            await thread.run(writer.close)
