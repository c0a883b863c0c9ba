"""Log events of a worker on their way to the owner's log: batched, bounded, drops counted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, MutableMapping
from typing import Any, NoReturn

import structlog

from mstream.foundation.secrets import redacted
from mstream.observability.logs import get_logger
from mstream.runtimes.messages import LogLine, LogLines

#: Events that wait for the owner; more are dropped and counted.
_BOUND = 1000

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "off": logging.CRITICAL,
}
_METHODS = frozenset({"debug", "info", "warning", "error", "critical"})


class LogRelay:
    """Collects events in a worker until the speaking thread takes them."""

    def __init__(self, bound: int = _BOUND) -> None:
        self._bound = bound
        self._lines: list[LogLine] = []
        self._dropped = 0
        self._lock = threading.Lock()
        self._level = logging.CRITICAL

    def configure(self, level: str) -> None:
        """Let events of this level and above pass, if it is lower than what passed before."""
        self._level = min(self._level, _LEVELS.get(level.lower(), logging.INFO))
        structlog.configure(
            processors=[structlog.contextvars.merge_contextvars, self._take_event],
            wrapper_class=structlog.make_filtering_bound_logger(self._level),
            cache_logger_on_first_use=False,
        )
        root = logging.getLogger()
        root.handlers = [_Handler(self)]
        root.setLevel(max(self._level, logging.WARNING))

    def add(self, line: LogLine) -> None:
        """Keep one event, or count it as dropped; from any thread."""
        with self._lock:
            if len(self._lines) < self._bound:
                self._lines.append(line)
            else:
                self._dropped += 1

    def take(self) -> LogLines | None:
        """Everything since the last call; None: nothing."""
        with self._lock:
            if not self._lines and not self._dropped:
                return None
            message = LogLines(lines=self._lines, dropped=self._dropped)
            self._lines, self._dropped = [], 0
            return message

    def _take_event(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> NoReturn:  # noqa: ANN401 - structlog's
        fields = dict(event)
        name, text = str(fields.pop("module", "mstream")), str(fields.pop("event", ""))
        self.add(LogLine(level=method, logger=name, event=text, fields=_plain(fields)))
        raise structlog.DropEvent


class _Handler(logging.Handler):
    """What libraries log through the standard library."""

    def __init__(self, relay: LogRelay) -> None:
        super().__init__()
        self._relay = relay

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on; what an exception says stays here, it may hold anything."""
        fields = {"error_type": record.exc_info[0].__name__} if record.exc_info and record.exc_info[0] else {}
        level = record.levelname.lower()
        self._relay.add(
            LogLine(level=level, logger=record.name, event=redacted(record.getMessage()), fields=_plain(fields))
        )


def emit(message: LogLines) -> None:
    """Write a worker's events to this process's log."""
    for each in message.lines:
        method = each.level if each.level in _METHODS else "info"
        fields = {key: value for key, value in each.fields.items() if key != "event"}
        getattr(get_logger(each.logger), method)(each.event, **fields)
    if message.dropped:
        get_logger(__name__).warning("log_lines_dropped", count=message.dropped)


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Values that need no class of their own on the other side."""
    return {key: value if isinstance(value, bool | int | float | None) else str(value) for key, value in fields.items()}
