"""Withheld: questions that stand in a definition in place of its secrets, and answers in place of the questions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from mstream.domain.service import ServiceConfig
from mstream.errors import UsageError
from mstream.foundation.secrets import MASK, is_reference

#: What a question begins with; its path follows: the service's name, and where in its definition it stands.
ASK: Final = "ask:"


def with_questions(config: ServiceConfig) -> dict[str, Any]:
    """The definition, with a question wherever what may be shown is not what it is."""
    definition: dict[str, Any] = _withheld(config.sealed(), config.shown(), config.name)
    return definition


def questions_of(name: str, definition: object) -> Iterator[str]:
    """The paths of what was withheld of this service."""
    yield from _asked(definition, name)


def with_answers(name: str, definition: Any, answers: Mapping[str, str]) -> Any:  # noqa: ANN401 - any JSON value
    """The definition that was withheld from. Raises UsageError for a question that nothing answers."""
    return _answered(definition, name, answers)


def _withheld(plain: Any, shown: Any, path: str) -> Any:  # noqa: ANN401 - any JSON value
    match plain:
        case dict():
            return {key: _withheld(each, _part(shown, key), f"{path}/{key}") for key, each in plain.items()}
        case list() | tuple():
            return [_withheld(each, _part(shown, index), f"{path}/{index}") for index, each in enumerate(plain)]
        case str() if plain != shown and not is_reference(plain):
            return ASK + path
        case _:
            return plain


def _part(shown: Any, key: str | int) -> Any:  # noqa: ANN401 - any JSON value
    """Of what is masked as a whole every part is masked."""
    match shown:
        case dict():
            return shown.get(key, MASK)
        case list() | tuple() if isinstance(key, int) and key < len(shown):
            return shown[key]
        case _:
            return MASK


def _asked(value: object, path: str) -> Iterator[str]:
    match value:
        case str() if value == ASK + path:
            yield path
        case dict():
            for key, each in value.items():
                yield from _asked(each, f"{path}/{key}")
        case list():
            for index, each in enumerate(value):
                yield from _asked(each, f"{path}/{index}")
        case _:
            return


def _answered(value: Any, path: str, answers: Mapping[str, str]) -> Any:  # noqa: ANN401 - any JSON value
    match value:
        case str() if value == ASK + path:
            if path not in answers:
                raise UsageError(f"the export does not have the secret {path!r}; give it")
            return answers[path]
        case dict():
            return {key: _answered(each, f"{path}/{key}", answers) for key, each in value.items()}
        case list():
            return [_answered(each, f"{path}/{index}", answers) for index, each in enumerate(value)]
        case _:
            return value
