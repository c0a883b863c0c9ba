"""The shape of a file: every fault that its models find, in our words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mstream.config.problems import Code, Finding, Path, did_you_mean, shown_key
from mstream.config.strictness import conversions
from mstream.config.vocabulary import keys_at
from mstream.foundation.secrets import MASK, redacted

M = TypeVar("M", bound=BaseModel)

#: What a field wants, by the word that pydantic's error begins with.
_WANTED: Final[Mapping[str, str]] = {
    "string": "text",
    "is": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "tuple": "a list",
    "list": "a list",
    "model": "a table",
    "dict": "a table",
    "union": "a table",
}

#: What a raw value is, in the words of the file.
_KINDS: Final[Mapping[type, str]] = {
    bool: "true or false",
    str: "text",
    int: "a whole number",
    float: "a number",
    dict: "a table",
    list: "a list",
}

#: What a number must be, by the limit that pydantic names.
_LIMITS: Final[Mapping[str, str]] = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}

_WHOLE_LIMIT: Final = 1 << 63


def parsed(model: type[M], raw: object, at: Path = ()) -> tuple[M | None, list[Finding]]:
    """The model's value of a raw table, or everything that is wrong with it; nothing is converted."""
    findings = [
        Finding(
            path=(*at, *path),
            code=Code.WRONG_TYPE,
            message=f"{_place(shown_key(str(path[-1])))} must be {wanted}, not {kind_of(value)}",
        )
        for path, wanted, value in conversions(model, raw)
        if path
    ]
    try:
        value = model.model_validate_json(json.dumps(plain(raw)))
    except ValidationError as error:
        details = error.errors(include_url=False)
        return None, [*findings, *(_finding(each, model, raw, at) for each in details)]
    return (None if findings else value), findings


def plain(value: object) -> object:
    """What TOML can say as JSON can; what JSON has no word for becomes a table, which no setting is."""
    match value:
        case dict():
            return {key: plain(each) for key, each in value.items()}
        case list():
            return [plain(each) for each in value]
        case bool() | str() | float():
            return value
        case int() if -_WHOLE_LIMIT <= value < _WHOLE_LIMIT:
            return value
        case _:
            return {"": kind_of(value)}


def kind_of(value: object) -> str:
    """What a raw value is, in the words of the file; never the value itself."""
    if isinstance(value, int) and not -_WHOLE_LIMIT <= value < _WHOLE_LIMIT:
        return "a whole number beyond 64 bits"
    return _KINDS.get(type(value), "a date or time")


def _finding(error: ErrorDetails, model: type[BaseModel], raw: object, at: Path) -> Finding:
    path, value = _located(error["loc"], raw)
    code, message, suggestion = _told(error, model, path, value)
    if error["type"].startswith("union_tag_"):
        path = (*path, *_quoted(error.get("ctx", {}).get("discriminator", "")))
    return Finding(path=(*at, *path), code=code, message=message, suggestion=suggestion)


def _located(loc: Sequence[str | int], raw: object) -> tuple[Path, object]:
    """Where in the raw tables an error stands; pydantic puts names of its own between the keys."""
    path: list[str | int] = []
    here = raw
    for number, each in enumerate(loc):
        if isinstance(here, list) and isinstance(each, int) and each < len(here):
            here = here[each]
        elif isinstance(here, dict) and each in here:
            here = here[str(each)]
        elif isinstance(here, dict) and number == len(loc) - 1:
            here = None
        else:
            continue
        path.append(each)
    return tuple(path), here


def _told(error: ErrorDetails, model: type[BaseModel], path: Path, value: object) -> tuple[Code, str, str | None]:
    kind = error["type"]
    name = shown_key(str(path[-1])) if path else "the file"
    for pattern, tell in _TELLERS:
        if pattern.fullmatch(kind):
            return tell(error, model, name, value)
    return Code.BAD_VALUE, f"{name!r} {_safe(error)}", None


Told = tuple[Code, str, str | None]


def _missing(error: ErrorDetails, model: type[BaseModel], name: str, value: object) -> Told:
    if name == "sinks":
        return Code.NO_SINKS, "the connector has no sinks", "add at least one to 'sinks'"
    return Code.MISSING_KEY, f"{name!r} is missing", f"add {name!r}"


def _unknown(error: ErrorDetails, model: type[BaseModel], name: str, value: object) -> Told:
    known = keys_at(model, error["loc"][:-1])
    return Code.UNKNOWN_KEY, f"unknown key {name!r}", did_you_mean(name, known) or one_of(known)


def _wrong_type(error: ErrorDetails, model: type[BaseModel], name: str, value: object) -> Told:
    wanted = _WANTED.get(error["type"].split("_")[0], "of another type")
    return Code.WRONG_TYPE, f"{_place(name)} must be {wanted}, not {kind_of(value)}", None


def _choice(error: ErrorDetails, model: type[BaseModel], name: str, value: object) -> Told:
    if not isinstance(value, str):
        return Code.WRONG_TYPE, f"{_place(name)} must be text, not {kind_of(value)}", None
    allowed = _quoted(error["ctx"].get("expected", "") if "ctx" in error else "")
    return Code.BAD_VALUE, f"{name!r} has a value that is not known", did_you_mean(value, allowed) or one_of(allowed)


def _limit(error: ErrorDetails, model: type[BaseModel], name: str, value: object) -> Told:
    limits = [f"{_LIMITS[key]} {bound}" for key, bound in error.get("ctx", {}).items() if key in _LIMITS]
    return Code.BAD_VALUE, f"{name!r} must be {' and '.join(limits)}", None


def _too_short(error: ErrorDetails, model: type[BaseModel], name: str, value: object) -> Told:
    if name == "sinks":
        return Code.NO_SINKS, "the connector has no sinks", "add at least one to 'sinks'"
    if name == "name":
        return Code.EMPTY_NAME, "the name is empty", "give it a name that nothing else has"
    return Code.BAD_VALUE, f"{name!r} must not be empty", None


def _tag_missing(error: ErrorDetails, model: type[BaseModel], name: str, value: object) -> Told:
    tag = _quoted(error.get("ctx", {}).get("discriminator", ""))
    return _missing(error, model, tag[0] if tag else "provider", value)


def _tag_unknown(error: ErrorDetails, model: type[BaseModel], name: str, value: object) -> Told:
    context = error.get("ctx", {})
    tag = _quoted(context.get("discriminator", ""))[0]
    allowed = _quoted(context.get("expected_tags", ""))
    suggestion = did_you_mean(context.get("tag"), allowed) or one_of(allowed)
    if tag == "provider":
        return Code.UNKNOWN_PROVIDER, "there is no such provider", suggestion
    return Code.BAD_VALUE, f"{tag!r} has a value that is not known", suggestion


Teller = Callable[[ErrorDetails, type[BaseModel], str, object], Told]

_TELLERS: Final[Sequence[tuple[re.Pattern[str], Teller]]] = [
    (re.compile("missing"), _missing),
    (re.compile("extra_forbidden"), _unknown),
    (re.compile("literal_error|enum"), _choice),
    (re.compile("greater_than(_equal)?|less_than(_equal)?"), _limit),
    (re.compile("string_too_short|too_short"), _too_short),
    (re.compile("union_tag_not_found"), _tag_missing),
    (re.compile("union_tag_invalid"), _tag_unknown),
    (re.compile(".*_type|.*_parsing|is_instance_of|int_from_float"), _wrong_type),
]


def one_of(words: Sequence[str]) -> str | None:
    """What there is to choose from."""
    return f"one of {', '.join(words)}" if words else None


def _quoted(text: object) -> list[str]:
    return re.findall(r"'([^']*)'", str(text))


def _place(name: str) -> str:
    return f"element {name}" if name.isdigit() else repr(name)


def _safe(error: ErrorDetails) -> str:
    """The words of a check, without the value that it was given."""
    message = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    for each in _texts(error.get("input")):
        message = message.replace(each, MASK)
    return f"is not valid: {redacted(message)}"


def _texts(value: object) -> Iterator[str]:
    match value:
        case str() if value:
            yield value
        case dict():
            for each in value.values():
                yield from _texts(each)
        case list():
            for each in value:
                yield from _texts(each)
        case _:
            return
