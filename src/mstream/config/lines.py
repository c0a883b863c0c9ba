"""Which line a dotted path stands on; tomllib does not tell."""

from __future__ import annotations

import bisect
import re
import tomllib
from collections.abc import Mapping

from mstream.config.problems import Path

_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_KEY = re.compile(r"""[ \t]*("(?:\\.|[^"\\\n])*"|'[^'\n]*'|[A-Za-z0-9_-]+)[ \t]*(\.?)""")
_STRING = re.compile(
    r'''"""(?:\\.|[^\\])*?"""(?:"{0,2})|\'\'\'.*?\'\'\'(?:'{0,2})|"(?:\\.|[^"\\\n])*"|'[^'\n]*\'''', re.DOTALL
)
_SCALAR = re.compile(r"[^,\]}#\n]+")


def lines_of(text: str) -> Mapping[Path, int]:
    """The line, counted from 1, of every key, table and element of a text that is valid TOML."""
    scan = _Scan(text.replace("\r\n", "\n"))
    scan.document()
    return scan.lines


def line_of(lines: Mapping[Path, int], path: Path) -> int | None:
    """The line of a path; of what it would stand in, where it is not there itself."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path)


class _Scan:
    """Walks over a text once and notes where things stand."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._text = text
        self._at = 0
        self._breaks = [each.start() for each in re.finditer("\n", text)]
        #: How many tables each array of tables has so far.
        self._counts: dict[Path, int] = {}

    def document(self) -> None:
        """The whole text."""
        table: Path = ()
        while self._goes_on():
            if self._takes("[["):
                *above, last = self._keys()
                table = self._element((*self._inside(above), last))
                self._takes("]]")
            elif self._takes("["):
                table = self._inside(self._keys())
                self._takes("]")
            else:
                self._pair(table)

    def _goes_on(self) -> bool:
        self._take(_BLANK)
        return self._at < len(self._text)

    def _takes(self, token: str) -> bool:
        if not self._text.startswith(token, self._at):
            return False
        self._at += len(token)
        return True

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str]:
        match = pattern.match(self._text, self._at)
        if match is None:
            message = f"no {pattern.pattern} at {self._at}"
            raise ValueError(message)
        self._at = match.end()
        return match

    def _note(self, path: Path) -> Path:
        self.lines.setdefault(path, bisect.bisect_left(self._breaks, self._at) + 1)
        return path

    def _keys(self) -> list[str]:
        keys = []
        dot = "."
        while dot:
            key, dot = self._take(_KEY).groups()
            keys.append(_unquoted(key))
        return keys

    def _inside(self, keys: list[str]) -> Path:
        """The table of these keys; of an array of tables its last."""
        path: Path = ()
        for each in keys:
            path = self._note((*path, each))
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
        return path

    def _element(self, array: Path) -> Path:
        self._note(array)
        index = self._counts.get(array, 0)
        self._counts[array] = index + 1
        return self._note((*array, index))

    def _pair(self, table: Path) -> None:
        path = table
        for each in self._keys():
            path = self._note((*path, each))
        self._takes("=")
        self._take(_BLANK)
        self._value(path)

    def _value(self, path: Path) -> None:
        if self._takes("["):
            index = 0
            while self._goes_on() and not self._takes("]"):
                self._value(self._note((*path, index)))
                self._take(_BLANK)
                self._takes(",")
                index += 1
        elif self._takes("{"):
            while self._goes_on() and not self._takes("}"):
                self._pair(path)
                self._take(_BLANK)
                self._takes(",")
        else:
            self._take(_STRING if self._text[self._at] in "\"'" else _SCALAR)


def _unquoted(key: str) -> str:
    return next(iter(tomllib.loads(f"{key} = 0"))) if key[0] in "\"'" else key
