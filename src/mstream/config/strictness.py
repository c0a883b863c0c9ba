"""Values of the wrong type that a model would quietly convert: `"5"` for 5, 1 for true."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from mstream.config.problems import Path
from mstream.config.vocabulary import is_model, literals, members

#: The types that a raw value would be converted to, and what they want.
_CONVERTING: Final[Mapping[type, Mapping[type, str]]] = {
    str: {int: "a whole number", float: "a number", bool: "true or false"},
    bool: {int: "a whole number", float: "a number"},
    int: {bool: "true or false"},
    float: {int: "a whole number", bool: "true or false"},
}


def conversions(annotation: Any, value: object, path: Path = ()) -> Iterator[tuple[Path, str, object]]:
    """Where a value would be converted, what is wanted there, and the value."""
    match value:
        case dict():
            for model in _models(annotation, value):
                for key, each in value.items():
                    if field := model.model_fields.get(key):
                        yield from conversions(field.annotation, each, (*path, key))
        case list():
            for member in members(annotation):
                arguments = typing.get_args(member)
                for index, each in enumerate(value if arguments else ()):
                    yield from conversions(arguments[0], each, (*path, index))
        case _:
            wanted = [each for each in members(annotation) if each is not types.NoneType]
            words = _CONVERTING.get(type(value), {})
            if wanted and all(each in words for each in wanted if isinstance(each, type)) and _are_types(wanted):
                yield path, words[wanted[0]], value


def _are_types(annotations: list[Any]) -> bool:
    return all(isinstance(each, type) for each in annotations)


def _models(annotation: Any, table: Mapping[str, Any]) -> list[type[BaseModel]]:
    models = [each for each in members(annotation) if is_model(each)]
    return models if len(models) == 1 else [each for each in models if _is_meant(each, table)]


def _is_meant(model: type[BaseModel], table: Mapping[str, Any]) -> bool:
    """Whether the table carries the tags of this model."""
    tags = {name: literals(field.annotation) for name, field in model.model_fields.items()}
    return all(table.get(name) == next(iter(tag)) for name, tag in tags.items() if len(tag) == 1)
