"""Scripted parts on their way to another process and back, the small functions of their scripts included."""

from __future__ import annotations

import importlib
import io
import marshal
import pickle
from pathlib import Path
from types import CellType, FunctionType
from typing import Any


def carry(part: object, file: Path) -> None:
    """Write it down for the process that will use it."""
    file.write_bytes(_dumped(part))


def taken(file: Path) -> Any:
    """The part that was written down."""
    return pickle.loads(file.read_bytes())


def carry_state(part: object, file: Path) -> None:
    """Write down what has become of a part; what belongs to its process stays there."""
    state = {}
    for name, value in vars(part).items():
        try:
            state[name] = _dumped(value)
        except (TypeError, pickle.PicklingError, AttributeError):
            continue
    file.write_bytes(pickle.dumps(state))


def take_state(part: object, file: Path) -> None:
    """Let the part at home be as the one that was away."""
    for name, value in pickle.loads(file.read_bytes()).items():
        setattr(part, name, pickle.loads(value))


class _Pickler(pickle.Pickler):
    """Also functions without a name of their own: their code, and what they close over."""

    def reducer_override(self, thing: object) -> Any:
        if not isinstance(thing, FunctionType) or "<" not in thing.__qualname__:
            return NotImplemented
        cells = tuple(each.cell_contents for each in thing.__closure__ or ())
        return _function, (marshal.dumps(thing.__code__), thing.__module__, thing.__defaults__, cells)


def _function(code: bytes, module: str, defaults: tuple[Any, ...] | None, cells: tuple[Any, ...]) -> FunctionType:
    names = vars(importlib.import_module(module))
    return FunctionType(marshal.loads(code), names, None, defaults, tuple(CellType(each) for each in cells))


def _dumped(thing: object) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer).dump(thing)
    return buffer.getvalue()
