"""The order of files that were put aside: which of them were written after a given one."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

#: What rotation adds to a name: a number or a date; packed files are not read.
_ROTATED = re.compile(r"[.-]\d[\d.T_-]*$")
#: A number that is filled up with zeros, or is as long as a date: such numbers only ever grow.
_GROWING = re.compile(r"(.*[.-])(\d{6,})$")
#: A short number: the newest file is the first.
_SHIFTING = re.compile(r".*[.-](\d{1,5})$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """A file under a rotated name, as it was seen."""

    name: str
    inode: int
    #: When it was last written to, in the file system's own time.
    moment: int


def is_rotated(name: str, original: str) -> bool:
    """Whether this is how rotation renames the original."""
    return name.startswith(original) and _ROTATED.fullmatch(name.removeprefix(original)) is not None


def later_than(inode: int, moment: int, asides: Collection[Aside]) -> Sequence[Aside]:
    """What was written after the file with this inode and time of its last write, oldest first.

    Times order them. Numbers in names decide within one tick of the file system's clock,
    and, where they follow each other without a gap, also against a clock that was set back.
    """
    own = next((each for each in asides if each.inode == inode), None)
    if own is None:
        # it was deleted: of what was written in the same tick anything may be later
        return sorted((each for each in asides if each.moment >= moment), key=_age)
    older, younger = _neighbours(own, {each.name: each for each in asides})
    known = {own.inode, *(each.inode for each in (*older, *younger))}
    others = (each for each in asides if each.inode not in known and _age(each) > _age(own))
    return [*younger, *sorted(others, key=_age)]


def _neighbours(own: Aside, by_name: dict[str, Aside]) -> tuple[list[Aside], list[Aside]]:
    """The files whose growing numbers go down from, and up from, this one's without a gap."""
    if (parts := _GROWING.fullmatch(own.name)) is None:
        return [], []
    start, digits = parts.groups()
    found: tuple[list[Aside], list[Aside]] = ([], [])
    for step, run in zip((-1, 1), found, strict=True):
        number = int(digits) + step
        while number >= 0 and (each := by_name.get(f"{start}{number:0{len(digits)}d}")) is not None:
            run.append(each)
            number += step
    return found


def _age(aside: Aside) -> tuple[int, int, str]:
    shifting = _SHIFTING.fullmatch(aside.name)
    return aside.moment, -int(shifting[1]) if shifting else 0, aside.name
