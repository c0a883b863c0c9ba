"""Collections and views of the database, and what the documents in one look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import pymongo
from bson import Binary, Code, CodecOptions, DatetimeMS, DBRef, Decimal128, ObjectId, Regex, Timestamp
from bson.codec_options import DatetimeConversion
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import InvalidName, OperationFailure

from mstream.errors import ResourceMissing
from mstream.ports.inspection import Resource, Variant
from mstream.schemas.introspect import OBJECT, Kind, infer, kind_of

from .faults import FAILURES, service_error
from .service import MongodbService

#: Seconds for one look; `timeoutMS` in the connection string says otherwise.
_PATIENCE: Final = 10.0
#: With these a server says that it has no `$sample`; a stand-in has no code for it.
_NO_STAGE: Final = frozenset({None, 59, 40324})
#: Collections that the server keeps for itself.
_OWN: Final = "system."

_CODEC: Final[CodecOptions[dict[str, Any]]] = CodecOptions(
    tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO, unicode_decode_error_handler="replace"
)
_DATE: Final = Kind("date", "string", "date-time")
#: As flat JSON writes them.
_KINDS: Final[Mapping[type, Kind]] = {
    ObjectId: Kind("objectId", "string", "objectid"),
    datetime: _DATE,
    DatetimeMS: _DATE,
    Timestamp: Kind("timestamp", "string", "date-time"),
    Decimal128: Kind("decimal", "string", "decimal"),
    bytes: Kind("binary", "string", "byte"),
    Binary: Kind("binary", "string", "byte"),
    Code: Kind("code", "string", "code"),
    Regex: OBJECT,
    DBRef: OBJECT,
}


class MongodbInspection:
    """One database."""

    def __init__(self, service: MongodbService) -> None:
        self._service = service
        self._what = f"service {service.config.name!r}"

    async def resources(self) -> Sequence[Resource]:
        """Collections, time series and views that somebody has made."""
        try:
            with self._in_time():
                cursor = await self._service.database.list_collections()
                found = [each async for each in cursor]
        except FAILURES as error:
            raise service_error(error, self._what) from None
        named = [(str(each["name"]), str(each.get("type", "collection"))) for each in found]
        return [Resource(name=name, kind=kind) for name, kind in sorted(named) if not name.startswith(_OWN)]

    async def variants(self, resource: str, *, sample: int, shows_values: bool) -> Sequence[Variant]:
        """Of documents that the server chooses."""
        what = f"{self._what}, collection {resource!r}"
        try:
            with self._in_time():
                documents = await self._sampled(resource, sample)
        except InvalidName:
            message = f"{what}: MongoDB takes no such name; name another resource"
            raise ResourceMissing(message) from None
        except FAILURES as error:
            raise service_error(error, what) from None
        if not documents:
            message = f"{what}: there is no document to look at; `mstream services resources` lists what is there"
            raise ResourceMissing(message)
        return infer(documents, bson_kind_of, shows_values=shows_values)

    def _in_time(self) -> Any:
        return pymongo.timeout(self._service.client.options.timeout or _PATIENCE)

    async def _sampled(self, resource: str, count: int) -> list[dict[str, Any]]:
        rows: AsyncCollection[dict[str, Any]] = self._service.database.get_collection(resource, codec_options=_CODEC)
        try:
            cursor = await rows.aggregate([{"$sample": {"size": count}}])
        except OperationFailure as error:
            if error.code not in _NO_STAGE:
                raise
            return [each async for each in rows.find().limit(count)]
        return [each async for each in cursor]


def bson_kind_of(value: Any) -> Kind:
    """The kind of a value of BSON, as flat JSON has it."""
    return next((_KINDS[each] for each in type(value).__mro__ if each in _KINDS), None) or kind_of(value)
