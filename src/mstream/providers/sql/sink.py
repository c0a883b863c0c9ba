"""Bulk writes with per-record outcomes; the checkpoint in the same transaction where possible."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from mstream.domain.batch import Batch, Form, Operation
from mstream.domain.connector import SinkRef
from mstream.ports.checkpoints import PendingCheckpoint
from mstream.ports.roles import Failure

from .config import Dialect, SqlSinkOptions
from .service import SqlService
from .thread import CallThread, call_thread
from .writer import TableWriter

#: Records in one transaction of SQLite: well under a second, since everybody else waits for its lock.
_PIECE = 5000


class SqlSink:
    """One table; records as documents."""

    accepts = Form.DOCUMENTS
    overlap = 1

    def __init__(self, writer: TableWriter, thread: CallThread, dialect: Dialect) -> None:
        self._writer = writer
        self._thread = thread
        self._in_pieces = dialect is Dialect.SQLITE

    async def write(self, batch: Batch) -> Sequence[Failure]:
        """Returns once everything that was not refused is committed."""
        failures: list[Failure] = []
        start = 0
        for piece in batch.slices(_PIECE) if self._in_pieces else [batch]:
            documents, operations = piece.documents or [], piece.operations
            found = await self._thread.run(lambda d=documents, o=operations: self._writer.write(d, o))  # type: ignore[misc]  # bound per turn
            failures += (Failure(index=start + each.index, error=each.error) for each in found)
            start += len(piece)
        return failures

    async def write_with(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> Sequence[Failure]:
        """Everything and the checkpoint in one transaction, the checkpoint last; nothing if anything is refused."""
        documents = [each for batch in batches for each in batch.documents or ()]
        operations: list[Operation] | None = None
        if any(each.operations is not None for each in batches):
            operations = [each for batch in batches for each in batch.operations or [Operation.INSERT] * len(batch)]
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
            yield SqlSink(writer, thread, live.dialect)
        finally:
            await thread.run(writer.close)
