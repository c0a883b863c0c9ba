"""Writes that wait at the same time share a transaction: the disk is waited for once for all of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from mstream.errors import MstreamError

from .faults import Fault, fault_of, store_error
from .service import SqlService
from .tables import make_table

T = TypeVar("T")

#: Writes that one transaction takes: others wait for its locks.
_MOST: Final = 64
#: Faults of a single write, found before anything is committed: the others are done without it.
_OF_ONE: Final = frozenset({Fault.MISSING, Fault.DUPLICATE, Fault.VALUE, Fault.OTHER})


@dataclass(frozen=True, slots=True)
class _Write:
    """May be carried out more than once, each time in a transaction of its own or with others."""

    work: Callable[[sa.Connection], Any]
    table: sa.Table
    #: What an error calls the collection.
    what: str
    answer: asyncio.Future[Any]


class SharedWrites:
    """The writes of one service; each has its own outcome, whoever it shared its transaction with."""

    def __init__(self, service: SqlService) -> None:
        self._service = service
        self._waiting: deque[_Write] = deque()

    async def run(self, work: Callable[[sa.Connection], T], table: sa.Table, what: str) -> T:
        """The answer once it is committed; a table that is missing is made. Raises StoreError.

        A caller that is cancelled does not stop it.
        """
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Write(work, table, what, answer))
        self._service.thread.begin(self._carry_out)
        return await answer

    # In the service's thread. An outcome is what the write gave, or the exception that ended it.

    def _carry_out(self) -> None:
        """All that waits, if an earlier call has not done it already."""
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST))]
        if not batch:
            return
        try:
            outcomes = self._outcomes(batch)
        except BaseException as error:  # noqa: BLE001 - whoever waits is told, whatever it was
            outcomes = [error] * len(batch)
        batch[0].answer.get_loop().call_soon_threadsafe(_tell, batch, outcomes)

    def _outcomes(self, batch: Sequence[_Write]) -> list[Any]:
        if len(batch) > 1:
            try:
                return self._service.transact(lambda connection: [each.work(connection) for each in batch])
            except MstreamError:
                pass  # one of them refuses
            except self._service.failures as error:
                if fault_of(error) not in _OF_ONE:
                    return [store_error(error, each.what) for each in batch]
        return [self._alone(each) for each in batch]

    def _alone(self, write: _Write) -> Any:
        try:
            return self._done(write)
        except MstreamError as error:
            return error
        except self._service.failures as error:
            return store_error(error, write.what)

    def _done(self, write: _Write) -> Any:
        try:
            return self._service.transact(write.work)
        except self._service.failures as error:
            if fault_of(error) is not Fault.MISSING:
                raise
        make_table(self._service, write.table)
        return self._service.transact(write.work)


def _tell(batch: Sequence[_Write], outcomes: Sequence[Any]) -> None:
    for write, outcome in zip(batch, outcomes, strict=True):
        if write.answer.done():
            continue  # its caller was cancelled
        if isinstance(outcome, BaseException):
            write.answer.set_exception(outcome)
        else:
            write.answer.set_result(outcome)
