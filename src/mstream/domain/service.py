"""ServiceConfig base model, service names, what of a service may be shown."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

from mstream.foundation.secrets import MASK, Secret, is_reference, redacted, resolved


class RoleOptions(BaseModel):
    """Options of a service in one role; they stand inline in the ref, or on the service as a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ServiceConfig(BaseModel):
    """A named connection to the outside; every provider has its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    #: The fields that may be shown. All others are masked, unless they are references.
    public: ClassVar[frozenset[str]] = frozenset({"provider", "name"})

    provider: str
    name: str = Field(min_length=1)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """What `repr` shows: public fields alone."""
        return ((key, value) for key, value in self.shown().items() if value != MASK)

    def settings(self) -> Iterator[tuple[str, Any]]:
        """Every field that is set, the provider's free-form ones included, by its name in a file."""
        for key in type(self).model_fields:
            value = getattr(self, key)
            if value is not None:
                yield key, value
        yield from (self.model_extra or {}).items()

    def shown(self) -> dict[str, Any]:
        """For logs, API and files that people read: an allow-list, references as they are."""
        return {key: _shown(value, public=key in self.public) for key, value in self.settings()}

    def sealed(self) -> dict[str, Any]:
        """Everything, secrets included, as plain data: for an encrypted envelope and nothing else."""
        return {key: _plain(value) for key, value in self.settings()}

    def references(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """What it refers to outside of itself: where that stands in it, and `env:NAME` or `file:PATH`."""
        yield from _references((), self.sealed())

    def paths(self) -> Iterator[tuple[str, str]]:
        """Where on this machine's disk it may write: the field that says so, and the path; not for references."""
        return iter(())

    def whereabouts(self) -> str:
        """Where it is, for messages, without anything that could be secret; "": nothing can be said."""
        return ""

    def script_folder(self) -> str | None:
        """The folder whose files are run as code; None: it has none."""
        return None

    def script_version(self) -> str | None:
        """Tells one state of the scripts in it from another; None: it holds none."""
        return None

    def digest(self) -> str:
        """Equal for equal definitions; not to be shown, since short secrets could be guessed from it."""
        text = json.dumps(self.sealed(), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def is_made(self) -> bool:
        """Whether there is something to open; False: opening it would make it. References must be resolved."""
        return True

    def with_references_resolved(self, environ: Mapping[str, str]) -> Self:
        """A copy in which `env:` and `file:` references are replaced by what they name.

        Raises SecretUnavailable. The copy is for opening a client and is not kept.
        """
        return type(self).model_validate({key: _resolved(_plain(value), environ) for key, value in self.settings()})


def _plain(value: Any) -> Any:
    match value:
        case Secret():
            return value.reveal()
        case BaseModel():
            return {
                key: _plain(getattr(value, key)) for key in type(value).model_fields if getattr(value, key) is not None
            }
        case Mapping():
            return {key: _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case _:
            return value


def _references(path: tuple[str | int, ...], value: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    match value:
        case str() if is_reference(value):
            yield path, value
        case Mapping():
            for key, each in value.items():
                yield from _references((*path, key), each)
        case list():
            for index, each in enumerate(value):
                yield from _references((*path, index), each)
        case _:
            return


def _resolved(value: Any, environ: Mapping[str, str]) -> Any:
    match value:
        case str() if is_reference(value):
            return resolved(value, environ)
        case Mapping():
            return {key: _resolved(each, environ) for key, each in value.items()}
        case list():
            return [_resolved(each, environ) for each in value]
        case _:
            return value


def _shown(value: Any, *, public: bool) -> Any:
    plain = _plain(value)
    if isinstance(plain, str) and is_reference(plain):
        return plain
    if isinstance(plain, bool | int | float) and not isinstance(value, Secret):
        return plain
    if isinstance(value, Secret) or not public:
        return MASK
    return _redacted(plain)


def _redacted(value: Any) -> Any:
    match value:
        case str():
            return redacted(value)
        case Mapping():
            return {key: _redacted(each) for key, each in value.items()}
        case list():
            return [_redacted(each) for each in value]
        case _:
            return value
