"""Writes and a checkpoint in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from bson.raw_bson import RawBSONDocument
from pymongo import ReadPreference
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
)

from mstream.errors import GuaranteeUnavailable, OutcomeUnknown, RevisionConflict, StaleCheckpoint, Throttled
from mstream.ports.checkpoints import CheckpointEntry

from .documents import MongodbCollection, MongodbDocuments
from .faults import OF_A_RECORD, fault_of, told
from .service import SAFE, MongodbService
from .writes import Write

#: With these a server says that it knows no transactions.
_REFUSES: Final = frozenset({20, 59, 115, 263})


class Transaction:
    """One after the other, on sessions of the service's client."""

    def __init__(self, service: MongodbService, rows: AsyncCollection[RawBSONDocument], what: str) -> None:
        self._service = service
        self._rows = rows
        #: By database.
        self._documents: dict[str, MongodbDocuments] = {}
        self._what = what

    async def commit(self, writes: Sequence[Write], entries: Sequence[CheckpointEntry]) -> PyMongoError | None:
        """All of it, the checkpoint last; answers what a record was refused with, then nothing was committed.

        Raises StaleCheckpoint, OutcomeUnknown, GuaranteeUnavailable, or as the driver does.
        """
        places = [await self._place(each) for each in entries]
        try:
            async with self._service.client.start_session() as session:
                await session.start_transaction(write_concern=SAFE, read_preference=ReadPreference.PRIMARY)
                if writes and (refusal := await self._written(writes, session)) is not None:
                    return refusal
                for place, entry in zip(places, entries, strict=True):
                    await place.put_within(
                        session, entry.key, entry.document, expect=entry.expect, revision=entry.revision
                    )
                await self._committed(session)
        except RevisionConflict as error:
            raise StaleCheckpoint(str(error)) from None
        except PyMongoError as error:
            raise self._told(error) from None
        return None

    async def _place(self, entry: CheckpointEntry) -> MongodbCollection:
        """Made, if it is missing: in a transaction that costs too much."""
        documents = self._documents.get(entry.database)
        if documents is None:
            documents = self._documents[entry.database] = MongodbDocuments(self._service, entry.database)
        place = documents.collection(entry.resource, key=entry.key_field)
        await documents.provide(place)
        return place

    async def _written(self, writes: Sequence[Write], session: AsyncClientSession) -> PyMongoError | None:
        """What a record was refused with: it ends the transaction."""
        try:
            await self._rows.bulk_write([each.action for each in writes], session=session)
        except PyMongoError as error:
            if _passes(error) or not (isinstance(error, BulkWriteError) or fault_of(error) in OF_A_RECORD):
                raise
            if _is_unknown(error):
                raise
            return error
        return None

    async def _committed(self, session: AsyncClientSession) -> None:
        try:
            await session.commit_transaction()
        except PyMongoError as error:
            if error.has_error_label("UnknownTransactionCommitResult"):
                message = f"{self._what}: the answer to the commit was lost: {told(error)}"
                raise OutcomeUnknown(message) from None
            raise

    def _told(self, error: PyMongoError) -> Exception:
        if _is_unknown(error):
            code = getattr(error, "code", None)
            told_as = type(error).__name__ if code is None else f"{type(error).__name__} {code}"
            message = (
                f"{self._what}: the server knows no transactions ({told_as}); delivery = 'effectively_once' with"
                " write_mode = 'insert' needs a replica set; write by key instead (replace, upsert or merge)"
            )
            return GuaranteeUnavailable(message)
        if _passes(error) and not isinstance(error, ConnectionFailure):
            return Throttled(f"{self._what}: somebody else is at it, or the primary has changed: {told(error)}")
        return error


def _passes(error: PyMongoError) -> bool:
    """Whether the same transaction may succeed at another time."""
    return error.has_error_label("TransientTransactionError")


def _is_unknown(error: Any) -> bool:
    if isinstance(error, ConfigurationError | InvalidOperation):
        return True
    return isinstance(error, OperationFailure) and error.code in _REFUSES
