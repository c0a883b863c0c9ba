"""Compile Python scripts, and say what is wrong with one without showing what it worked on."""

from __future__ import annotations

import inspect
import sys
import traceback
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mstream.errors import ScriptError, ScriptInvalid

#: What a script can raise besides ordinary errors: `exit()` must not end the worker.
SCRIPT_FAULTS = (Exception, SystemExit)

#: Their texts name types, names and limits, when it is the interpreter that raises them.
_TELLS_NO_DATA = (AttributeError, ImportError, IndexError, NameError, RecursionError, TypeError, ZeroDivisionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A compiled script and its entry functions, of which it has at least one."""

    name: str
    #: What its code objects say they come from.
    filename: str
    lines: tuple[str, ...]
    transform: Callable[..., Any] | None
    transform_batch: Callable[..., Any] | None
    #: Whether the function takes attributes beside the data.
    takes_attributes: bool

    def failed(self, error: BaseException, place: str) -> ScriptError:
        """The record's error: which line raised what, for which record; never a value of the record."""
        line = _line(error, self.filename)
        where = f"script {self.name!r}" if line is None else f"script {self.name!r}, line {line}"
        return ScriptError(f"{where}: {_told(error, self.filename, self.lines)} ({place})")

    def misreturned(self, entry: str, error: Exception, place: str) -> ScriptError:
        """The record's error when the script gave back something that is no result."""
        return ScriptError(f"script {self.name!r}: {entry} gave back {error} ({place})")


def compiled(text: bytes, *, name: str, service: str) -> Script:
    """The script, its top level executed; raises ScriptInvalid with its file and line."""
    filename = f"<script {service}/{name}>"
    lines = tuple(text.decode("utf-8", "replace").split("\n"))
    module = types.ModuleType(f"mstream_script_{service}_{name}")
    try:
        code = compile(text, filename, "exec", dont_inherit=True)
    except SyntaxError as error:
        message = f"script {name!r}, line {error.lineno or 1}: {error.msg}"
        raise ScriptInvalid(message) from error
    except ValueError as error:
        message = f"script {name!r}: {error}"
        raise ScriptInvalid(message) from error
    # Data classes look their module up there.
    sys.modules[module.__name__] = module
    try:
        exec(code, module.__dict__)  # noqa: S102 - a script is the user's own, trusted code
    except SCRIPT_FAULTS as error:
        line = _line(error, filename)
        message = f"script {name!r}, line {line or 1}: {_told(error, filename, lines)}"
        raise ScriptInvalid(message) from error
    return _with_entries(module, name=name, filename=filename, lines=lines)


def _with_entries(module: types.ModuleType, *, name: str, filename: str, lines: tuple[str, ...]) -> Script:
    transform, batch = (_entry(module, each, name) for each in ("transform", "transform_batch"))
    chosen = batch or transform
    if chosen is None:
        message = f"script {name!r}, line 1: it has neither transform(data, attributes) nor transform_batch(records)"
        raise ScriptInvalid(message)
    return Script(
        name=name,
        filename=filename,
        lines=lines,
        transform=transform,
        transform_batch=batch,
        takes_attributes=_arity(chosen, name) > 1,
    )


def _entry(module: types.ModuleType, entry: str, name: str) -> Callable[..., Any] | None:
    function: Any = getattr(module, entry, None)
    if function is None:
        return None
    if not callable(function):
        message = f"script {name!r}, line 1: {entry} is a {type(function).__name__}, not a function"
        raise ScriptInvalid(message)
    for wrong, advice in (
        (inspect.iscoroutinefunction, "is asynchronous; write it with `def` alone"),
        (inspect.isgeneratorfunction, "yields; return a list instead"),
        (inspect.isasyncgenfunction, "is asynchronous; write it with `def` alone, and return a list"),
    ):
        if wrong(function):
            message = f"script {name!r}, line {_first_line(function)}: {entry} {advice}"
            raise ScriptInvalid(message)
    made: Callable[..., Any] = function
    return made


def _arity(function: Callable[..., Any], name: str) -> int:
    """One or two; raises ScriptInvalid for a function that cannot be called with either."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return 2
    for count in (2, 1):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return count
    entry = getattr(function, "__name__", "transform")
    takes = "(records) or (records, attributes)" if entry == "transform_batch" else "(data, attributes) or (data)"
    message = f"script {name!r}, line {_first_line(function)}: {entry} must take {takes}"
    raise ScriptInvalid(message)


def _first_line(function: Callable[..., Any]) -> int:
    code = getattr(function, "__code__", None)
    return code.co_firstlineno if isinstance(code, types.CodeType) else 1


def _line(error: BaseException, filename: str) -> int | None:
    """The innermost line of the script that the error came through."""
    found: int | None = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == filename:
            found = trace.tb_lineno
        trace = trace.tb_next
    return found


def _told(error: BaseException, filename: str, lines: Sequence[str]) -> str:
    """The error's kind, and its text where that stands in the line that raised it, or is the interpreter's own.

    What stands anywhere else in a script may be a secret, and what stands nowhere in it a value of a record.
    """
    kind, text = type(error).__name__, str(error)
    if isinstance(error, SystemExit):
        return "it called exit(), which a script cannot do"
    number = _line(error, filename)
    line = lines[number - 1] if number and number <= len(lines) else ""
    if text and text in line:
        return f"{kind}: {text}"
    frames = traceback.extract_tb(error.__traceback__)
    is_own = bool(frames) and frames[-1].filename == filename and not line.lstrip().startswith("raise")
    return f"{kind}: {text}" if type(error) in _TELLS_NO_DATA and is_own else kind
