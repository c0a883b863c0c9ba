"""What waits at the same time shares a transaction: the disk, or the server, is waited for once for all of it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, TypeVar

import sqlalchemy as sa

from mstream.errors import MstreamError

from .faults import Fault, fault_of, store_error
from .service import SqlService
from .tables import has_table, make_table

T = TypeVar("T")

#: Calls that one transaction takes: others wait for its locks.
_MOST: Final = 64
#: Faults of a single call, found before anything is committed: the others are done without it.
_OF_ONE: Final = frozenset({Fault.MISSING, Fault.DUPLICATE, Fault.VALUE, Fault.OTHER})


@dataclass(frozen=True, slots=True)
class _Call:
    """May be carried out more than once, each time in a transaction of its own or with others."""

    work: Callable[[sa.Connection], Any]
    table: sa.Table
    #: What an error calls the collection.
    what: str
    answer: asyncio.Future[Any]


class _Shared(ABC):
    """Calls of one service; each has its own outcome, whoever it shared its transaction with."""

    _mode: ClassVar[Literal["read", "write"]]

    def __init__(self, service: SqlService) -> None:
        self._service = service
        self._waiting: deque[_Call] = deque()

    async def run(self, work: Callable[[sa.Connection], T], table: sa.Table, what: str) -> T:
        """The answer once the transaction has ended. Raises StoreError.

        A caller that is cancelled does not stop it.
        """
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Call(work, table, what, answer))
        self._service.thread.begin(self._carry_out)
        return await answer

    # In the service's thread. An outcome is what the call gave, or the exception that ended it.

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

    def _outcomes(self, batch: Sequence[_Call]) -> list[Any]:
        if len(batch) > 1:
            try:
                return self._transact(lambda connection: [each.work(connection) for each in batch])
            except MstreamError:
                pass  # one of them refuses
            except self._service.failures as error:
                if fault_of(error) not in _OF_ONE:
                    return [store_error(error, each.what) for each in batch]
        return [self._alone(each) for each in batch]

    def _alone(self, call: _Call) -> Any:
        try:
            try:
                return self._transact(call.work)
            except self._service.failures as error:
                if fault_of(error) is not Fault.MISSING:
                    raise
                return self._without_table(call, error)
        except MstreamError as error:
            return error
        except self._service.failures as error:
            return store_error(error, call.what)

    def _transact(self, work: Callable[[sa.Connection], T]) -> T:
        return self._service.transact(work, mode=self._mode)

    @abstractmethod
    def _without_table(self, call: _Call, error: BaseException) -> Any:
        """The outcome where something was missing, perhaps the table; raises what the driver does."""


class SharedWrites(_Shared):
    """A table that is missing is made."""

    _mode = "write"

    def _without_table(self, call: _Call, error: BaseException) -> Any:
        make_table(self._service, call.table)
        return self._transact(call.work)


class SharedReads(_Shared):
    """Reading makes no table: there is nothing in one that was never made."""

    _mode = "read"

    def _without_table(self, call: _Call, error: BaseException) -> Sequence[Any]:
        if has_table(self._service, call.table):
            raise error
        return ()


def _tell(batch: Sequence[_Call], outcomes: Sequence[Any]) -> None:
    for call, outcome in zip(batch, outcomes, strict=True):
        if call.answer.done():
            continue  # its caller was cancelled
        if isinstance(outcome, BaseException):
            call.answer.set_exception(outcome)
        else:
            call.answer.set_result(outcome)
