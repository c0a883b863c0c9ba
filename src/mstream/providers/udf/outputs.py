"""What a script gave back for each record, gathered into a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mstream.domain.batch import Batch, Document, Headers
from mstream.errors import ScriptError
from mstream.ports.roles import Failure, Transformed

_PAIR = 2


class Misreturned(Exception):
    """The script gave back something that is no result."""


class Outputs:
    """Documents, each with the input that it came from."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        #: Filled directly by the hot path: one document and one origin for each output.
        self.documents: list[Document] = []
        self.origins: list[int] = []
        self._headers: dict[int, Headers] = {}
        self._failures: list[Failure] = []

    def keep(self, index: int) -> None:
        """A record that passes by without a document."""
        self.documents.append(None)
        self.origins.append(index)

    def refuse(self, index: int, error: ScriptError) -> None:
        """A record that the script failed on."""
        self._failures.append(Failure(index=index, error=error))

    def take(self, index: int, result: Any) -> None:
        """What the script gave for a record: nothing, one or many; raises Misreturned, having taken none of it."""
        if result is None:
            return
        pairs = [_pair(each) for each in result if each is not None] if isinstance(result, list) else [_pair(result)]
        for document, headers in pairs:
            if headers is not None:
                self._headers[len(self.documents)] = headers
            self.documents.append(document)
            self.origins.append(index)

    def transformed(self) -> Transformed:
        """The batch with these documents; every other column follows the record's input."""
        count = len(self._batch)
        bare = replace(self._batch, documents=None, payloads=None)
        one_to_one = len(self.origins) == count and self.origins == list(range(count))
        picked = bare if one_to_one else bare.pick(self.origins)
        if self._headers:
            before = picked.headers or [None] * len(self.origins)
            picked = replace(picked, headers=[self._headers.get(at, each) for at, each in enumerate(before)])
        return Transformed(
            batch=replace(picked, documents=self.documents),
            origins=None if one_to_one else self.origins,
            failures=self._failures,
        )


def _pair(result: Any) -> tuple[Document, Headers | None]:
    """The document, and the attributes if the script gave any."""
    if not isinstance(result, tuple):
        return result, None
    if len(result) != _PAIR:
        message = f"a tuple of {len(result)}; give data, (data, attributes), a list of these, or None"
        raise Misreturned(message)
    document, attributes = result
    if document is None:
        raise Misreturned("attributes without data; give None to drop the record")
    if attributes is None:
        return document, {}
    if not isinstance(attributes, Mapping):
        message = f"attributes that are a {type(attributes).__name__}; give a dict of texts"
        raise Misreturned(message)
    return document, {_name(key): _attribute(value) for key, value in attributes.items()}


def _name(key: Any) -> str:
    if isinstance(key, str):
        return key
    message = f"an attribute whose name is a {type(key).__name__}; give texts"
    raise Misreturned(message)


def _attribute(value: Any) -> str:
    """Attributes are texts; plain values are spelled as in JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    message = f"an attribute that is a {type(value).__name__}; give a text"
    raise Misreturned(message)
