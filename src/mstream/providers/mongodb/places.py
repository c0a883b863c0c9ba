"""Where a source stands, as a position: behind a token, at a time of the cluster, or in the middle of a snapshot."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import bson
from bson import CodecOptions, Timestamp, json_util
from bson.codec_options import DatetimeConversion
from bson.errors import BSONError
from bson.json_util import JSONMode, JSONOptions

_SNAPSHOT, _TIME, _DATA = "snapshot", "time", "_data"
_EXACT: Final[CodecOptions[dict[str, Any]]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
_CANONICAL: Final = JSONOptions(
    json_mode=JSONMode.CANONICAL, tz_aware=False, datetime_conversion=DatetimeConversion.DATETIME_MS
)
#: Before a value that extended JSON would change.
_BYTES: Final = "bson:"
_UNREADABLE: Final = (BSONError, AttributeError, TypeError, KeyError, ValueError, OverflowError)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stream begins: behind a token, or at a cluster time; at neither: now."""

    token: bytes | None = None
    time: Timestamp | None = None

    @property
    def is_known(self) -> bool:
        """Whether a stream that is opened there later misses nothing."""
        return self.token is not None or self.time is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Documents of a collection in the order of `_id`, from behind one of them up to another."""

    #: With the name of its database before it.
    collection: str
    #: An `_id` as a text, see `text_of`; None: from the first, up to the last.
    after: str | None = None
    until: str | None = None

    def is_same(self, other: Range) -> bool:
        """Whether both are the same range, however far it has come."""
        return (self.collection, self.until) == (other.collection, other.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """How far a snapshot has come, and where the stream behind it begins."""

    start: Place
    #: Those of which nothing was read yet.
    collections: tuple[str, ...] = ()
    #: What is being read, each as far as it has not been.
    ranges: tuple[Range, ...] = ()
    #: Documents that were read, and about how many there are in all.
    read: int = 0
    about: int | None = None
    #: Starts of snapshots, and of the stream before them, that the oplog did not keep for long enough.
    lost: tuple[Place, ...] = ()
    #: The stream goes on meanwhile: `start` is where it stands, and moves on with it.
    is_beside: bool = False
    #: Which documents are read, as a query in extended JSON; None: all.
    filter: str | None = None

    @property
    def is_done(self) -> bool:
        """Whether everything was read."""
        return not self.collections and not self.ranges

    def passed(self, part: Range, after: str, count: int) -> Snapshot:
        """So many documents of a range later."""
        ranges = tuple(replace(each, after=after) if each.is_same(part) else each for each in self.ranges)
        return replace(self, ranges=ranges, read=self.read + count)

    def ended(self, part: Range) -> Snapshot:
        """Without a range that was read to its end."""
        return replace(self, ranges=tuple(each for each in self.ranges if not each.is_same(part)))

    def begun(self, collection: str, ranges: tuple[Range, ...]) -> Snapshot:
        """With a collection's ranges among those that are being read."""
        waiting = tuple(each for each in self.collections if each != collection)
        return replace(self, collections=waiting, ranges=self.ranges + ranges)

    def position(self) -> dict[str, Any]:
        """As it is stored; that of the stream alone once nothing else is left to be known."""
        if self.is_done and not self.lost:
            return position_of(self.start)
        ranges = [
            {name: each for name in ("collection", "after", "until") if (each := getattr(part, name)) is not None}
            for part in self.ranges
        ]
        found = {
            "stream": position_of(self.start),
            "collections": list(self.collections),
            "ranges": ranges,
            "read": self.read,
            "about": self.about,
            "lost": [position_of(each) for each in self.lost],
            "beside": self.is_beside or None,
            "filter": self.filter,
        }
        return {_SNAPSHOT: {name: each for name, each in found.items() if each not in ([], None)}}


def position_of(place: Place) -> dict[str, Any]:
    """A place as a position: a token as positions of v0.47 come here, the token itself in extended JSON."""
    if place.token is None:
        return {} if place.time is None else {_TIME: {"t": place.time.time, "i": place.time.inc}}
    found: dict[str, Any] = json.loads(
        json_util.dumps(bson.decode(place.token), json_options=json_util.RELAXED_JSON_OPTIONS),
    )
    return found


def stand_of(position: Any) -> Place | Snapshot:
    """What a position says. Raises ValueError when it is none of ours."""
    try:
        match position:
            case {"snapshot": Mapping() as found}:
                return _snapshot_of(found)
            case Mapping():
                return _place_of(position)
    except _UNREADABLE:
        pass
    message = "no position: neither a token nor a time, nor how far a snapshot has come"
    raise ValueError(message)


def text_of(key: bytes) -> str:
    """A document `{"_id": …}` as a text from which the same bytes come back."""
    try:
        text = json_util.dumps(bson.decode(key, _EXACT), json_options=_CANONICAL)
        if bson.encode(json_util.loads(text, json_options=_CANONICAL), codec_options=_EXACT) == key:
            return text
    except _UNREADABLE:
        pass
    return _BYTES + b64encode(key).decode()


def key_of(text: str) -> bytes:
    """The document `{"_id": …}` of a text. Raises ValueError when there is none in it."""
    try:
        if text.startswith(_BYTES):
            key = b64decode(text.removeprefix(_BYTES), validate=True)
        else:
            key = bson.encode(json_util.loads(text, json_options=_CANONICAL), codec_options=_EXACT)
        bson.decode(key, _EXACT)["_id"]
    except _UNREADABLE as error:
        raise ValueError(str(error)) from None
    return key


def query_of(text: str | None) -> dict[str, Any]:
    """A query in extended JSON; None: of everything. Raises ValueError when it is none."""
    if not text:
        return {}
    try:
        query = json_util.loads(text)
    except _UNREADABLE as error:
        raise ValueError(str(error)) from None
    if not isinstance(query, dict):
        message = "no query"
        raise ValueError(message)  # noqa: TRY004 - what it is was read out of a text
    return query


def value_of(text: str) -> Any:
    """The `_id` in a text, so that the same bytes are made of it."""
    return bson.decode(key_of(text), _EXACT)["_id"]


def _place_of(position: Mapping[str, Any]) -> Place:
    if position.get(_DATA):
        return Place(token=bson.encode(json_util.loads(json.dumps(position))))
    if _TIME in position:
        time = position[_TIME]
        return Place(time=Timestamp(time["t"], time["i"]))
    message = "no resume token"
    raise ValueError(message)


def _snapshot_of(found: Mapping[str, Any]) -> Snapshot:
    ranges = tuple(
        Range(collection=str(each["collection"]), after=each.get("after"), until=each.get("until"))
        for each in found.get("ranges", ())
    )
    for each in ranges:
        for text in (each.after, each.until):
            if text is not None:
                key_of(text)
    chosen = found.get("filter")
    query_of(chosen)
    return Snapshot(
        start=_place_of(found["stream"]),
        collections=tuple(map(str, found.get("collections", ()))),
        ranges=ranges,
        read=int(found.get("read", 0)),
        about=found.get("about"),
        lost=tuple(_place_of(each) for each in found.get("lost", ())),
        is_beside=found.get("beside") is True,
        filter=chosen,
    )
