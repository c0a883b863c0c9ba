"""Values of BSON that its Python package reads as something else, kept so that they are written as they came.

They are no strings and no tuples: the package would write a string or an array, and nobody would notice.
"""

from __future__ import annotations

from dataclasses import dataclass

from bson import ObjectId


@dataclass(frozen=True, slots=True)
class Undefined:
    """The deprecated type `undefined`; the package reads null."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """The deprecated type `symbol`; the package reads a string."""

    text: str


@dataclass(frozen=True, slots=True)
class DbPointer:
    """The deprecated type `dbPointer`; the package reads a DBRef, which is a document."""

    namespace: str
    oid: ObjectId


@dataclass(frozen=True, slots=True)
class OddRegex:
    """A regular expression with options that the package leaves out or puts into another order."""

    pattern: str
    options: str
