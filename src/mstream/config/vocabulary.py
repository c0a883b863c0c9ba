"""Which keys a table may have: what a misspelt one was meant to be."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel


def keys_at(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """The keys of the table that pydantic names by `loc`; none where that is no table of ours."""
    here: Any = model
    for each in loc:
        here = _step(here, each)
    return [key for member in members(here) if is_model(member) for key in keys_of(member)]


def keys_of(model: type[BaseModel]) -> list[str]:
    """A model's keys, as a file spells them."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _step(annotation: Any, element: str | int) -> Any:
    arms = members(annotation)
    if isinstance(element, str) and len(arms) > 1:
        tagged = [each for each in arms if is_model(each) and element in _tags(each)]
        if tagged:
            return tagged[0]
    for member in arms:
        if found := _below(member, element):
            return found
    return None


def _below(annotation: Any, element: str | int) -> Any:
    if is_model(annotation):
        field = annotation.model_fields.get(element)
        return field.annotation if field else None
    arguments = typing.get_args(annotation)
    return arguments[0] if isinstance(element, int) and arguments else None


def members(annotation: Any) -> Sequence[Any]:
    """The arms of a union; of anything else itself."""
    if isinstance(annotation, type):
        return (annotation,)
    if typing.get_origin(annotation) is Annotated:
        return members(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in {Union, types.UnionType}:
        return [each for part in typing.get_args(annotation) for each in members(part)]
    return [annotation]


def is_model(annotation: Any) -> bool:
    """Whether it is a table with keys of its own."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def literals(annotation: Any) -> set[Any]:
    """The values that a field is bound to; none where it is free."""
    return set(typing.get_args(annotation)) if typing.get_origin(annotation) is Literal else set()


def _tags(model: type[BaseModel]) -> set[Any]:
    kinds = [literals(field.annotation) for field in model.model_fields.values()]
    return {tag for each in kinds if len(each) == 1 for tag in each}
