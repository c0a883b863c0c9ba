"""The reference page on log events: read out of the source, one row per event."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from event_texts import TEXTS

_SOURCE: Final = Path(__file__).resolve().parent.parent / "src" / "mstream"
_LEVELS: Final[Mapping[str, str]] = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
    "critical": "error",
}
_ORDER: Final = ("debug", "info", "warning", "error")

_INTRODUCTION: Final = """\
Every line of the log is an event with fields, on standard error: `time`, `level`, `event`, `module`, then its own.
`MSTREAM_LOG_FORMAT=json` writes JSON instead of `key=value`.
`--log-level`, `MSTREAM_LOG` or `RUST_LOG` says from which level on; secrets show as `****`, payloads never.
What happens in a worker process has the fields `job` and `run` also where they are not listed.
A field without a value is left out.

"""


@dataclass(slots=True)
class Event:
    """All that the source says of one event."""

    levels: set[str] = field(default_factory=set)
    fields: dict[str, None] = field(default_factory=dict)
    has_more: bool = False


def page() -> str:
    """The page below its title."""
    rows = [
        f"| `{name}` | {'/'.join(each for each in _ORDER if each in event.levels)} "
        f"| {_spelled(event)} | {TEXTS.get(name, '')} |"
        for name, event in sorted(events().items())
    ]
    return "".join([_INTRODUCTION, "| event | level | fields | |\n|---|---|---|---|\n", "\n".join(rows), "\n"])


def problems() -> Iterator[str]:
    """Events without an explanation, and explanations without an event."""
    found = events()
    for each in sorted(found.keys() - TEXTS.keys()):
        yield f"scripts/event_texts.py does not explain the event {each!r}"
    for each in sorted(TEXTS.keys() - found.keys()):
        yield f"scripts/event_texts.py explains {each!r}, which is no event"


@functools.cache
def events() -> dict[str, Event]:
    """Every event of the program, by name. Raises ValueError for a call whose event cannot be told."""
    found: dict[str, Event] = {}
    for path in sorted(_SOURCE.rglob("*.py")):
        for name, levels, call in _told(ast.parse(path.read_text()), path):
            event = found.setdefault(name, Event())
            event.levels |= levels
            for keyword in call.keywords:
                if keyword.arg is None:
                    event.has_more = True
                else:
                    event.fields.setdefault(keyword.arg)
    return found


def _told(tree: ast.Module, path: Path) -> Iterator[tuple[str, set[str], ast.Call]]:
    """Each call that writes an event: `log.info(…)`, a name that stands for one, or a function that passes it on."""
    names, passing, inner = _names(tree), _passing(tree), set[ast.Call]()
    for _, _, calls in passing.values():
        inner |= set(calls)
    for call in _calls(tree):
        levels, position = set[str](), 0
        match call.func:
            case ast.Attribute(value=ast.Name(id="log"), attr=attr) if attr in _LEVELS:
                levels = {_LEVELS[attr]}
            case ast.Attribute(value=ast.Call(func=ast.Name(id="get_logger")), attr=attr) if attr in _LEVELS:
                levels = {_LEVELS[attr]}
            case ast.Name(id=name) if name in names:
                levels = names[name]
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in passing:
                position, levels, _ = passing[name]
        if not levels or call in inner:
            continue
        match call.args[position] if len(call.args) > position else None:
            case ast.Constant(value=str(event)):
                yield event, levels, call
            case _:
                message = f"{path}:{call.lineno}: the event's name must stand there as text"
                raise ValueError(message)


def _names(tree: ast.Module) -> dict[str, set[str]]:
    """Names that stand for methods of the log: `tell = log.debug if … else log.warning`."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and not any(isinstance(each, ast.Call) for each in ast.walk(node.value)):
            levels = set(_levels(node.value))
            if levels:
                found |= {each.id: levels for each in node.targets if isinstance(each, ast.Name)}
    return found


def _passing(tree: ast.Module) -> dict[str, tuple[int, set[str], list[ast.Call]]]:
    """Functions that are handed the event: which argument it is, and the calls inside them."""
    found: dict[str, tuple[int, set[str], list[ast.Call]]] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        arguments = [each.arg for each in node.args.args if each.arg not in {"self", "cls"}]
        for call in _calls(node):
            match call:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="log"), attr=attr), args=[ast.Name(id=name), *_]
                ) if attr in _LEVELS and name in arguments:
                    position, levels, calls = found.get(node.name, (arguments.index(name), set(), []))
                    found[node.name] = (position, levels | {_LEVELS[attr]}, [*calls, call])
    return found


def _levels(node: ast.expr) -> Iterator[str]:
    for each in ast.walk(node):
        match each:
            case ast.Attribute(value=ast.Name(id="log"), attr=attr) if attr in _LEVELS:
                yield _LEVELS[attr]


def _calls(node: ast.AST) -> Iterable[ast.Call]:
    return (each for each in ast.walk(node) if isinstance(each, ast.Call))


def _spelled(event: Event) -> str:
    return ", ".join([*(f"`{each}`" for each in event.fields), *(["…"] if event.has_more else [])])
