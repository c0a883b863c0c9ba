"""Structured log events: configuration, context binding, redaction."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from mstream.errors import UsageError
from mstream.foundation.secrets import redacted

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "off": logging.CRITICAL,
}


class LogFormat(StrEnum):
    """How a line of the log is written."""

    LOGFMT = "logfmt"
    JSON = "json"


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger for events with fields; it follows whatever `configure` says later."""
    return cast("FilteringBoundLogger", structlog.get_logger(module=name))


def chosen_level(option: str | None, environ: Mapping[str, str]) -> str:
    """The level's name: the option, MSTREAM_LOG, RUST_LOG, else info. Raises UsageError for no level."""
    if option:
        return _level(option, "--log-level")
    if "MSTREAM_LOG" in environ:
        return _level(environ["MSTREAM_LOG"], "MSTREAM_LOG")
    if "RUST_LOG" in environ:
        return _directive(environ["RUST_LOG"])
    return "info"


def chosen_format(environ: Mapping[str, str]) -> LogFormat:
    """MSTREAM_LOG_FORMAT, else logfmt. Raises UsageError for anything else."""
    text = environ.get("MSTREAM_LOG_FORMAT", LogFormat.LOGFMT).lower()
    try:
        return LogFormat(text)
    except ValueError:
        message = f"MSTREAM_LOG_FORMAT is {text!r}; it can be {' or '.join(LogFormat)}"
        raise UsageError(message) from None


def configure(level: str, form: LogFormat = LogFormat.LOGFMT) -> None:
    """From now on every event of this level and above goes to standard error, secrets masked.

    What libraries log through the standard library takes the same way, from WARNING on.
    """
    number = _LEVELS[level]
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    after: list[Processor] = [
        structlog.processors.format_exc_info,
        _masked,
        _renderer(form),
    ]
    structlog.configure(
        processors=[*before, *after],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_StandardError,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(_Stream())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*before, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *after],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(number, logging.WARNING))


class _Stream:
    """Standard error as it is at the moment of writing: a status line may have put itself before it."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


class _StandardError:
    """The end of the chain: one line per event."""

    def __init__(self, *args: object) -> None:
        """Structlog hands over what `get_logger` was given by position: nothing."""

    def msg(self, line: str) -> None:
        """Write one line."""
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    debug = info = warning = error = critical = exception = msg


def _renderer(form: LogFormat) -> Processor:
    if form is LogFormat.JSON:
        return structlog.processors.JSONRenderer(sort_keys=False)
    return structlog.processors.LogfmtRenderer(key_order=["time", "level", "event"], drop_missing=True)


def _masked(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """A field without a value is left out."""
    return {key: _masked_value(value) for key, value in event.items() if value is not None}


def _masked_value(value: Any) -> Any:  # noqa: ANN401 - fields of an event are of any kind
    match value:
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {str(key): _masked_value(each) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_masked_value(each) for each in value]
        case _:
            return redacted(str(value))


def _level(text: str, where: str) -> str:
    name = text.strip().lower()
    if name not in _LEVELS:
        message = f"{where}: {text!r} is no level; levels are {', '.join(sorted(_LEVELS))}"
        raise UsageError(message)
    return name


def _directive(text: str) -> str:
    """What RUST_LOG says of us: its directives name modules, the one without a name holds for all."""
    general, own = None, None
    for directive in text.split(","):
        module, separator, level = directive.strip().lower().rpartition("=")
        if level not in _LEVELS:
            continue
        if separator and module.split("::")[0] == "mstream":
            own = own or level
        elif not separator:
            general = level
    return own or general or "info"
