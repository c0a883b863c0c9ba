"""The exception tree: one module, a code of its own for every class, drawn as it is."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections import Counter
from collections.abc import Iterator

import mstream
from mstream import errors
from mstream.errors import MstreamError


def tree(root: type[MstreamError] = MstreamError) -> Iterator[type[MstreamError]]:
    """A class and all below it."""
    yield root
    for each in root.__subclasses__():
        yield from tree(each)


def shared_codes(classes: list[type[MstreamError]]) -> list[str]:
    """Codes that more than one class has, inherited ones included."""
    return [code for code, times in Counter(each.code for each in classes).items() if times > 1]


def ours() -> list[type[MstreamError]]:
    return [each for each in tree() if each.__module__.startswith("mstream.")]


def drawn(text: str) -> list[tuple[int, str]]:
    """Depth and name of every class in the drawing."""
    lines = [re.match(r"^([│├└─ ]*)(\w+)", line) for line in text.splitlines()]
    start = next(at for at, line in enumerate(lines) if line and line[2] == "MstreamError")
    return [(len(line[1]) // 4, line[2]) for line in lines[start:] if line]


def defined(root: type[MstreamError], depth: int = 0) -> list[tuple[int, str]]:
    """Depth and name of every class, as they follow each other in the module."""
    below = [each for each in root.__subclasses__() if each.__module__ == errors.__name__]
    return [(depth, root.__name__)] + [entry for each in below for entry in defined(each, depth + 1)]


def test_every_error_has_a_code_of_its_own() -> None:
    assert shared_codes(ours()) == []


def test_an_inherited_code_is_noticed() -> None:
    heir = type("Heir", (errors.ServiceError,), {})

    assert shared_codes([errors.ServiceError, heir]) == ["service_failed"]


def test_codes_are_snake_case() -> None:
    assert [each.code for each in ours() if not re.fullmatch(r"[a-z]+(_[a-z]+)*", each.code)] == []


def test_the_drawing_shows_every_class_in_its_place() -> None:
    assert drawn(inspect.getdoc(errors) or "") == defined(MstreamError)


def test_errors_are_defined_in_one_module() -> None:
    for each in pkgutil.walk_packages(mstream.__path__, "mstream."):
        if not each.name.endswith("__main__"):
            importlib.import_module(each.name)

    assert {each.__module__ for each in ours()} == {errors.__name__}


def test_every_error_says_what_it_is() -> None:
    classes = [node for node in ast.parse(inspect.getsource(errors)).body if isinstance(node, ast.ClassDef)]

    assert [each.name for each in classes if not ast.get_docstring(each)] == []
