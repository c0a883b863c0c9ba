"""What a producer is given for the records of a batch: topic, value, key, time and headers, column by column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final

import orjson

from mstream.domain.batch import Batch, Document, Encoding, Headers, Operation
from mstream.encodings import codec_for
from mstream.errors import MstreamError, RecordRefused
from mstream.ports.encoding import Conversion

from .templates import Misfit, TopicTemplate, template_of, value_at
from .writing import KafkaSinkOptions, KeyFrom, OnDelete, Timestamp

#: As a producer takes them: names may come twice in a list.
MessageHeaders = dict[str, str] | list[tuple[str, bytes | None]] | None
#: Index in the batch, topic, value, key, milliseconds (0: now), headers.
Row = tuple[int, str, bytes | None, bytes | None, int, MessageHeaders]
Refused = dict[int, MstreamError]

#: Attributes with which a source of ours says where in Kafka a record stood.
ORIGIN: Final = frozenset({"origin", "topic", "partition", "offset"})


@dataclass(slots=True)
class Messages:
    """The messages of a batch, and which records make none."""

    topics: Sequence[str] | str
    values: Sequence[bytes | None]
    keys: Sequence[bytes | None] | None
    times: Sequence[int] | None
    headers: Sequence[MessageHeaders] | None
    refused: Refused

    def rows(self) -> Iterator[Row]:
        """In order, without those that are refused."""
        found = zip(
            range(len(self.values)),
            repeat(self.topics) if isinstance(self.topics, str) else self.topics,
            self.values,
            self.keys if self.keys is not None else repeat(None),
            self.times if self.times is not None else repeat(0),
            self.headers if self.headers is not None else repeat(None),
            strict=False,
        )
        if not self.refused:
            return found
        return (row for row in found if row[0] not in self.refused)

    def names(self) -> set[str]:
        """The topics that there are messages for."""
        if isinstance(self.topics, str):
            return {self.topics}
        return {each for index, each in enumerate(self.topics) if index not in self.refused}


class MessageMaker:
    """Makes messages as the options of one sink say; pure."""

    def __init__(self, resource: str, options: KafkaSinkOptions, what: str) -> None:
        self._template = template_of(resource)
        self._options = options
        self._what = what
        self._header = header_maker(options)
        #: What makes keys by a schema; None: they are written as they are.
        self._by_schema: Conversion | None = None

    def write_keys_by(self, conversion: Conversion) -> None:
        """As `ports.encoding.KeyedSink`."""
        self._by_schema = conversion

    @property
    def template(self) -> TopicTemplate:
        """What the names of topics are made of."""
        return self._template

    def messages(self, batch: Batch) -> Messages:
        """Never raises for what a record holds."""
        refused: Refused = {}
        documents = self._documents(batch, refused)
        keys = self._keys(batch, documents, refused)
        return Messages(
            topics=self._topics(batch, documents, refused),
            values=self._values(batch, keys),
            keys=keys,
            times=self._times(batch),
            headers=self._headers(batch),
            refused=refused,
        )

    def _documents(self, batch: Batch, refused: Refused) -> Sequence[Document] | None:
        """Decoded records, where something in them is needed."""
        if self._options.key_field is None and not self._template.needs_fields:
            return None
        if batch.documents is not None:
            return batch.documents
        documents, failures = codec_for(batch.encoding).decode(batch.payloads or ())
        refused.update({each.index: each.error for each in failures})
        return documents

    def _values(self, batch: Batch, keys: Sequence[bytes | None] | None) -> Sequence[bytes | None]:
        values = batch.payloads if batch.payloads is not None else ()
        operations = batch.operations
        if operations is None or keys is None or self._options.on_delete is not OnDelete.TOMBSTONE:
            return values
        if Operation.DELETE not in operations:
            return values
        return [
            None if operation is Operation.DELETE and key is not None else value
            for value, operation, key in zip(values, operations, keys, strict=True)
        ]

    def _keys(
        self, batch: Batch, documents: Sequence[Document] | None, refused: Refused
    ) -> Sequence[bytes | None] | None:
        path = self._options.key_field
        if path is None or documents is None:
            given = batch.keys if self._options.key is KeyFrom.SOURCE else None
            return given if given is None or self._by_schema is None else self._written(given, {}, refused)
        make: Callable[[Any, str], Any] = key_of if self._by_schema is None else _datum_of
        keys: list[Any] = [None] * len(batch)
        own: set[int] = set()
        sources = batch.keys if batch.keys is not None else repeat(None)
        for index, (document, source) in enumerate(zip(documents, sources, strict=False)):
            if index in refused:
                continue
            described = _described(document, source)
            if described is None:
                keys[index] = source
                own.add(index)
                continue
            try:
                keys[index] = make(value_at(described, path), path)
            except Misfit as misfit:
                refused[index] = RecordRefused(f"{self._what}: {misfit}; it is the message's key")
        if self._by_schema is None:
            return keys
        values = {index: each for index, each in enumerate(keys) if index not in own}
        return self._written([each if index in own else None for index, each in enumerate(keys)], values, refused)

    def _written(
        self, keys: Sequence[bytes | None], values: Mapping[int, Any], refused: Refused
    ) -> Sequence[bytes | None]:
        """By the schema: keys as records have them, and values of fields, by index."""
        assert self._by_schema is not None  # noqa: S101 - nobody asks for it else
        given, failures = self._by_schema.of_payloads(keys)
        made, more = self._by_schema.of_documents(list(values.values()))
        places = list(values)
        faults = {each.index: each.error for each in failures} | {places[each.index]: each.error for each in more}
        for index, error in faults.items():
            refused.setdefault(index, RecordRefused(f"{self._what}: its key: {error}"))
        written = list(given)
        for index, each in zip(places, made, strict=True):
            written[index] = each
        return written

    def _topics(self, batch: Batch, documents: Sequence[Document] | None, refused: Refused) -> Sequence[str] | str:
        template = self._template
        if template.is_fixed:
            return template.texts[0]
        topics = [""] * len(batch)
        for index in range(len(batch)):
            if index in refused:
                continue
            key = None if batch.keys is None else batch.keys[index]
            document = None if documents is None else _described(documents[index], key)
            headers = None if batch.headers is None else batch.headers[index]
            try:
                topics[index] = template.topic(document, headers)
            except Misfit as misfit:
                refused[index] = RecordRefused(f"{self._what}: {misfit}")
        return topics

    def _times(self, batch: Batch) -> Sequence[int] | None:
        if self._options.timestamp is Timestamp.NOW or batch.times is None:
            return None
        return [each if each and each > 0 else 0 for each in batch.times]

    def _headers(self, batch: Batch) -> Sequence[MessageHeaders] | None:
        if batch.headers is None or self._header is None:
            return None
        if self._header is _without_origin and (raw := getattr(batch.headers, "raw", None)) is not None:
            found: list[MessageHeaders] = raw()
            return found
        return list(map(self._header, batch.headers))


def header_maker(options: KafkaSinkOptions) -> Callable[[Headers | None], MessageHeaders] | None:
    """What makes the headers of a message of a record's attributes; None: messages get none."""
    if isinstance(options.headers, tuple):
        names = options.headers
        return lambda given: None if given is None else {each: given[each] for each in names if each in given} or None
    if not options.headers:
        return None
    return _with_origin if options.origin_headers else _without_origin


def _with_origin(given: Headers | None) -> MessageHeaders:
    if not given:
        return None
    raw = getattr(given, "raw", None)
    if raw is None:
        return given if type(given) is dict else dict(given)
    return [*raw, *((name, given[name].encode()) for name in sorted(ORIGIN) if name in given)]


def _without_origin(given: Headers | None) -> MessageHeaders:
    """As they came, where they came from Kafka and nobody has changed them."""
    if given is None:
        return None
    raw = getattr(given, "raw", None)
    if raw is not None:
        return (raw if type(raw) is list else list(raw)) or None
    if given.get("origin") != "kafka":
        return (given if type(given) is dict else dict(given)) or None
    return {name: value for name, value in given.items() if name not in ORIGIN} or None


def key_of(value: Any, path: str) -> bytes:
    """A value as a key: text and numbers as they are written, everything else as JSON. Raises Misfit for null."""
    match value:
        case None:
            message = f"its field {path!r} is null"
            raise Misfit(message)
        case bytes():
            return bytes(value)
        case str():
            return value.encode("utf-8", "surrogatepass")
        case bool():
            return b"true" if value else b"false"
        case int():
            return str(value).encode()
    try:
        made = orjson.dumps(value, default=str, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        message = f"its field {path!r} cannot be written as JSON"
        raise Misfit(message) from None
    return orjson.loads(made).encode() if made.startswith(b'"') else made


def _datum_of(value: Any, path: str) -> Any:
    """A value as what a schema is to write as the key. Raises Misfit for null."""
    if value is None:
        message = f"its field {path!r} is null"
        raise Misfit(message)
    return value


def _described(document: Document, key: bytes | None) -> Document:
    """The record; of one without content, what its own key says of it, if that is an object of JSON or BSON."""
    if document is not None or key is None:
        return document
    for encoding in (Encoding.JSON, Encoding.BSON):
        try:
            documents, failures = codec_for(encoding).decode([key])
        except MstreamError:
            continue
        if not failures and isinstance(documents[0], Mapping):
            return documents[0]
    return document
