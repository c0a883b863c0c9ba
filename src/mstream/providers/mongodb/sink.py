"""Bulk writes with per-record outcomes; the checkpoint in the same transaction where possible."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import bson
import pymongo
from bson import CodecOptions
from bson.codec_options import DatetimeConversion
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo import ReadPreference, WriteConcern
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError, InvalidName, PyMongoError, WriteConcernError, WriteError

from mstream.domain.batch import Batch, Form, concat
from mstream.domain.connector import SinkRef
from mstream.errors import RecordRefused, ServiceError
from mstream.ports.checkpoints import PendingCheckpoint
from mstream.ports.roles import Failure

from .config import ID, MongodbSinkOptions
from .elements import document_of, elements
from .faults import FAILURES, OF_A_RECORD, Fault, fault_of, service_error, told
from .service import SAFE, MongodbService
from .transactions import Transaction
from .writes import Sorted, Write, rounds, sort, stored_form

#: Seconds after which a write is given up, the driver's own tries included; `timeoutMS` in the connection string says
#: otherwise.
_PATIENCE: Final = 60.0
#: Documents that are looked up by one query.
_LOOKUP: Final = 1000

Refused = dict[int, str]
_READ: Final[CodecOptions[dict[str, Any]]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
_UNREADABLE: Final = "it is no valid BSON document"


class MongodbSink:
    """One collection; records as BSON."""

    accepts = Form.PAYLOADS
    overlap = 1

    def __init__(self, service: MongodbService, ref: SinkRef, options: MongodbSinkOptions) -> None:
        self._service = service
        self._options = options
        self._mode = ref.mode
        self._what = f"service {service.config.name!r}, collection {ref.resource!r}"
        self._rows = self._opened(ref.resource)
        self._transaction = Transaction(service, self._rows, self._what)

    async def write(self, batch: Batch) -> Sequence[Failure]:
        """Returns once everything that was not refused is safe, as the write concern says."""
        found = sort(batch, self._options, self._mode)
        first, later = rounds(found.writes)
        try:
            with self._in_time():
                await self._unordered(first, found.refused)
                await self._in_order(later, found.refused)
        except FAILURES as error:
            raise service_error(error, self._what) from None
        return self._failures(found.refused)

    async def write_with(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> Sequence[Failure]:
        """Everything and the checkpoint in one transaction, the checkpoint last; nothing if anything is refused."""
        full = [each for each in batches if len(each)]
        found = sort(concat(full), self._options, self._mode) if full else Sorted()
        left: Sequence[Write] = found.writes
        try:
            while not found.refused:
                with self._in_time():
                    error = await self._transaction.commit(left, checkpoint.entries)
                    if error is None:
                        break
                    left = await self._without_refused(error, left, found.refused)
        except FAILURES as error:
            raise service_error(error, self._what) from None
        return self._failures(found.refused)

    # --------------------------------------------------------------------------------------------------------- outcomes
    async def _unordered(self, writes: Sequence[Write], refused: Refused) -> None:
        """No two of them touch the same document."""
        if not writes:
            return
        try:
            await self._bulk(writes, ordered=False)
        except BulkWriteError as error:
            duplicates = self._judged(error, writes, refused)
            await self._settled(duplicates, refused)
        except FAILURES as error:
            if fault_of(error) is not Fault.VALUE:
                raise
            # One of them makes the whole command fail.
            if len(writes) == 1:
                refused[writes[0].index] = f"MongoDB does not take it ({told(error)})"
                return
            middle = len(writes) // 2
            await self._unordered(writes[:middle], refused)
            await self._unordered(writes[middle:], refused)

    async def _in_order(self, writes: Sequence[Write], refused: Refused) -> None:
        """A bulk that is ordered ends at the first that is refused: the next begins behind it."""
        start = 0
        while start < len(writes):
            part = writes[start:]
            try:
                await self._bulk(part, ordered=True)
                return
            except BulkWriteError as error:
                at = min((each["index"] for each in error.details.get("writeErrors", ())), default=0)
                await self._settled(self._judged(error, part, refused), refused)
                start += at + 1
            except FAILURES as error:
                if fault_of(error) is not Fault.VALUE:
                    raise
                for each in part:
                    await self._unordered([each], refused)
                return

    def _judged(self, error: BulkWriteError, writes: Sequence[Write], refused: Refused) -> list[Write]:
        """Notes what was refused; answers those whose place is taken. Raises what is no record's fault."""
        duplicates: list[Write] = []
        for each in error.details.get("writeConcernErrors", ()):
            raise service_error(WriteConcernError("", each.get("code")), self._what)
        for each in error.details.get("writeErrors", ()):
            write, code = writes[each["index"]], each.get("code")
            fault = fault_of(WriteError("", code))
            if fault is Fault.DUPLICATE:
                duplicates.append(write)
            elif fault in OF_A_RECORD:
                refused[write.index] = f"MongoDB does not take it (code {code})"
            else:
                raise service_error(WriteError("", code), self._what)
        return duplicates

    async def _settled(self, duplicates: Sequence[Write], refused: Refused) -> None:
        """An insert whose document is there already with the same content has been made before."""
        inserts = {each.index: each for each in duplicates if each.inserted is not None}
        there = await self._there(list(inserts.values())) if inserts else {}
        for each in duplicates:
            stored = there.get(each.index)
            if each.inserted is None or stored is None:
                refused[each.index] = "another document has one of its unique values"
            elif stored != stored_form(each.inserted):
                refused[each.index] = f"its {ID!r} is there already, with other content"

    async def _there(self, inserts: Sequence[Write]) -> dict[int, bytes]:
        """What stands in the places of these inserts, by their index."""
        ids = {each.index: _id_of(each.inserted or b"") for each in inserts}
        stored: dict[bytes, bytes] = {}
        wanted = [each for each in ids.values() if each is not None]
        for start in range(0, len(wanted), _LOOKUP):
            some = [RawBSONDocument(each)[ID] for each in wanted[start : start + _LOOKUP]]
            async with self._rows.find({ID: {"$in": some}}) as cursor:
                async for each in cursor:
                    found = _id_of(bytes(each.raw))
                    if found is not None:
                        stored[found] = bytes(each.raw)
        return {index: stored[key] for index, key in ids.items() if key is not None and key in stored}

    def _failures(self, refused: Mapping[int, str]) -> list[Failure]:
        return [
            Failure(index=index, error=RecordRefused(f"{self._what}: {refused[index]}")) for index in sorted(refused)
        ]

    # ------------------------------------------------------------------------------------------------------ transaction
    async def _without_refused(self, error: PyMongoError, writes: Sequence[Write], refused: Refused) -> Sequence[Write]:
        """What another try makes, once a refusal has ended the transaction; its reasons are found outside of it."""
        if not isinstance(error, BulkWriteError):
            refused.update({each.index: _UNREADABLE for each in writes if not _is_readable(each.inserted)})
            if not refused:
                raise error
            return writes
        duplicates = self._judged(error, writes, refused)
        if not duplicates:
            return writes
        # Not only the one that was met first: each further one would cost a transaction.
        inserts = [each for each in writes if each.inserted is not None]
        there = await self._there(inserts)
        again = {each.index for each in inserts if there.get(each.index) == stored_form(each.inserted or b"")}
        await self._settled([each for each in duplicates if each.index not in again], refused)
        return [each for each in writes if each.index not in again]

    # ------------------------------------------------------------------------------------------------------------ calls
    async def _bulk(self, writes: Sequence[Write], *, ordered: bool) -> None:
        await self._rows.bulk_write([each.action for each in writes], ordered=ordered)

    def _in_time(self) -> Any:
        return pymongo.timeout(self._service.client.options.timeout or _PATIENCE)

    def _opened(self, resource: str) -> AsyncCollection[RawBSONDocument]:
        try:
            return self._service.database.get_collection(
                resource,
                codec_options=CodecOptions(document_class=RawBSONDocument, tz_aware=True),
                read_preference=ReadPreference.PRIMARY,
                write_concern=self._concern(),
            )
        except InvalidName:
            message = f"{self._what}: MongoDB takes no such name; name another resource"
            raise ServiceError(message) from None

    def _concern(self) -> WriteConcern:
        given = self._service.client.write_concern
        if not given.acknowledged:
            message = f"{self._what}: with w=0 nobody would know what was written; take it out of the connection_string"
            raise ServiceError(message)
        options = dict(given.document or SAFE.document)
        if self._options.write_concern is not None:
            options["w"] = self._options.write_concern
        if self._options.journal is not None:
            options["j"] = self._options.journal
        return WriteConcern(**options)


@asynccontextmanager
async def open_sink(live: MongodbService, ref: SinkRef, options: MongodbSinkOptions) -> AsyncIterator[MongodbSink]:
    """A sink on the service's client. Raises ServiceError for settings that cannot be used."""
    yield MongodbSink(live, ref, options)


def _id_of(document: bytes) -> bytes | None:
    """The field `_id` alone, as a document."""
    found = next((each.raw for each in elements(document) if each.name == ID), None)
    return None if found is None else document_of([found])


def _is_readable(document: bytes | None) -> bool:
    try:
        return document is None or bson.decode(document, _READ) is not None
    except BSONError:
        return False
