"""What can be wrong with a configuration file, and how it is told."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Final

from mstream.foundation.secrets import MASK

_LONGEST_KEY: Final = 100


class Severity(StrEnum):
    """Whether a file can be used in spite of it."""

    ERROR = "error"
    WARNING = "warning"


class Code(StrEnum):
    """Every kind of problem."""

    #: The file is not there, cannot be read, or is not UTF-8 text.
    UNREADABLE = "unreadable"
    #: The file is not TOML.
    SYNTAX = "syntax"
    UNKNOWN_KEY = "unknown_key"
    MISSING_KEY = "missing_key"
    WRONG_TYPE = "wrong_type"
    BAD_VALUE = "bad_value"
    UNKNOWN_PROVIDER = "unknown_provider"
    EMPTY_NAME = "empty_name"
    DUPLICATE_NAME = "duplicate_name"
    RESERVED_NAME = "reserved_name"
    #: A service, or the alias of a schema, that nothing defines.
    UNKNOWN_REFERENCE = "unknown_reference"
    NO_SINKS = "no_sinks"
    #: The service's provider cannot do this.
    ROLE_UNAVAILABLE = "role_unavailable"
    #: The wiring cannot give the delivery that is asked for.
    GUARANTEE_UNAVAILABLE = "guarantee_unavailable"
    #: Records that are given up would have no place.
    NO_DEAD_LETTERS = "no_dead_letters"
    #: Described, but it cannot run here; jobs that need it fail.
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    #: Records come or go in an encoding that cannot be read or written here; the job will fail.
    ENCODING_UNAVAILABLE = "encoding_unavailable"
    #: Records are in Avro, and nothing says by which schema.
    NO_SCHEMA = "no_schema"
    #: A step makes JSON of BSON, and a later one BSON of that: types do not come back.
    TYPES_LOST = "types_lost"
    #: Nothing durable keeps positions.
    NO_CHECKPOINTS = "no_checkpoints"
    #: More member runs than can be had.
    ONE_MEMBER = "one_member"
    #: What the job writes comes out of its source again.
    FEEDS_ITSELF = "feeds_itself"
    #: A reference to an environment variable that is not set.
    UNSET_REFERENCE = "unset_reference"
    #: A key of older versions that has no effect any more.
    LEGACY_KEY = "legacy_key"
    #: A value that older versions took, and what was done with it.
    LEGACY_VALUE = "legacy_value"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, where, and what would be right."""

    file: str
    #: Counted from 1; None: the whole file.
    line: int | None
    #: Dotted, as in `connectors[0].sinks[1].service_name`; empty: the whole file.
    path: str
    severity: Severity
    code: Code
    message: str
    suggestion: str | None = None

    def as_document(self) -> dict[str, str | int | None]:
        """Plain data, for JSON."""
        return {
            "file": self.file,
            "line": self.line,
            "path": self.path,
            "severity": self.severity.value,
            "code": self.code.value,
            "message": self.message,
            "suggestion": self.suggestion,
        }


#: Keys and indexes from the top of the file.
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A problem before the file's name and the line are known."""

    path: Path
    code: Code
    message: str
    suggestion: str | None = None
    severity: Severity = Severity.ERROR


def warning(path: Path, code: Code, message: str, suggestion: str | None = None) -> Finding:
    """Something to know, that leaves the file valid."""
    return Finding(path=path, code=code, message=message, suggestion=suggestion, severity=Severity.WARNING)


def dotted(path: Path) -> str:
    """As people write it: `connectors[0].source`; keys that are no plain words are quoted."""
    text = ""
    for each in path:
        if isinstance(each, int):
            text += f"[{each}]"
        else:
            key = shown_key(each)
            plain = key and all(char.isalnum() or char in "_-*" for char in key)
            text += ("." if text else "") + (key if plain else '"' + key.replace('"', '\\"') + '"')
    return text


def shown_key(key: str) -> str:
    """A key for people; one that looks like a slipped value is not repeated."""
    return key if len(key) <= _LONGEST_KEY and "://" not in key else MASK


def did_you_mean(word: object, known: Collection[str]) -> str | None:
    """The nearest of the known words, as a question; never the word itself."""
    if not isinstance(word, str):
        return None
    folded = {each.lower(): each for each in known}
    close = get_close_matches(word.lower()[:200], list(folded), n=1)
    return f"did you mean {folded[close[0]]!r}?" if close else None
