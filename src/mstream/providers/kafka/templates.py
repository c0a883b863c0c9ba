"""Names of topics: fixed, or put together from a record's fields and headers; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

#: `{field}`, `{outer.inner}` or `{header:name}`.
_PLACE: Final = re.compile(r"\{([^{}]*)\}")
_HEADER: Final = "header:"
#: What Kafka takes as the name of a topic.
_NAME: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
_SIGNS: Final = "a topic has letters, digits and . _ - in its name, at most 249"


class Misfit(Exception):
    """A record without what is needed; the text says why, without any of its values."""


@dataclass(frozen=True, slots=True)
class Place:
    """Something of a record that stands in the name of its topic."""

    name: str
    is_header: bool


@dataclass(frozen=True, slots=True)
class TopicTemplate:
    """Texts, and between them places: one more text than places."""

    texts: tuple[str, ...]
    places: tuple[Place, ...]

    @property
    def is_fixed(self) -> bool:
        """Every record goes to the same topic."""
        return not self.places

    @property
    def needs_fields(self) -> bool:
        """It must look into records."""
        return not all(each.is_header for each in self.places)

    def topic(self, document: Any, headers: Mapping[str, str] | None) -> str:
        """The topic of a record. Raises Misfit."""
        parts = [self.texts[0]]
        for place, text in zip(self.places, self.texts[1:], strict=True):
            parts += [_header(headers, place.name) if place.is_header else _field(document, place.name), text]
        name = "".join(parts)
        if not _NAME.fullmatch(name):
            message = f"what stands in it makes no name of a topic; {_SIGNS}"
            raise Misfit(message)
        return name


def template_of(resource: str) -> TopicTemplate:
    """The template that a resource is; one without braces is the name itself."""
    texts = _PLACE.split(resource)
    places = [
        Place(each.removeprefix(_HEADER), is_header=True) if each.startswith(_HEADER) else Place(each, is_header=False)
        for each in texts[1::2]
    ]
    return TopicTemplate(tuple(texts[::2]), tuple(places))


def problem_of(resource: str) -> str | None:
    """Why it can be no topic, and no template of topics; None: it can."""
    template = template_of(resource)
    if any("{" in each or "}" in each for each in template.texts):
        return "braces stand around the name of a field or of a header: 'orders-{region}', 'orders-{header:tenant}'"
    if not all(each.name for each in template.places):
        return "a field or header needs a name: 'orders-{region}', 'orders-{header:tenant}'"
    example = "x".join(template.texts)
    return None if _NAME.fullmatch(example) else f"Kafka takes no such name; {_SIGNS}"


def value_at(document: Any, path: str) -> Any:
    """The value of a field; dots lead into objects. Raises Misfit where there is none."""
    value = document
    if isinstance(document, Mapping) and path in document:
        return document[path]
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            message = f"it has no field {path!r}"
            raise Misfit(message)
        value = value[name]
    return value


def _field(document: Any, path: str) -> str:
    value = value_at(document, path)
    if isinstance(value, bool) or not isinstance(value, str | int):
        message = f"its field {path!r}, which stands in the topic's name, is neither text nor a whole number"
        raise Misfit(message)
    return str(value)


def _header(headers: Mapping[str, str] | None, name: str) -> str:
    if headers is None or name not in headers:
        message = f"it has no header {name!r}, which stands in the topic's name"
        raise Misfit(message)
    return headers[name]
