"""Secret values that cannot be printed, references to them, and redaction of texts."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from mstream.errors import SecretUnavailable

MASK = "****"

_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<userinfo>[^\s/?#\"']*)@")
_QUERY = re.compile(
    r"(?P<name>[?&;](?:[\w.-]*(?:password|passwd|pwd|secret|token|key|signature|credential)[\w.-]*)=)[^&;\s#\"']+",
    re.IGNORECASE,
)


class Secret:
    """A text that shows as `****` wherever it is printed, copied into a log or serialised.

    The value leaves in one way only: `reveal()`.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself; for the call that needs it, nowhere else."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        message = "a secret cannot be pickled; seal it"
        raise TypeError(message)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.no_info_after_validator_function(cls, core_schema.str_schema())
        return core_schema.json_or_python_schema(
            json_schema=text,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), text]),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda _: MASK),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "format": "password", "writeOnly": True}


def is_reference(text: str) -> bool:
    """Whether the text names a secret instead of being one."""
    return text.startswith(("env:", "file:"))


def resolved(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """The text, or what `env:NAME` or `file:/path` refers to (a file without its last line end).

    Raises SecretUnavailable, naming the reference, when there is nothing.
    """
    kind, _, name = text.partition(":")
    if kind == "env":
        if name not in environ:
            message = f"environment variable {name!r} is not set; set it, or change the reference 'env:{name}'"
            raise SecretUnavailable(message)
        return environ[name]
    if kind == "file":
        try:
            return Path(name).read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            message = f"file {name!r} cannot be read ({reason}); it is named by a 'file:' reference"
            raise SecretUnavailable(message) from None
    return text


def redacted(text: str) -> str:
    """The text without user info in URLs and without values of telling query parameters."""
    return _QUERY.sub(rf"\g<name>{MASK}", _USERINFO.sub(rf"\g<scheme>{MASK}@", text))
