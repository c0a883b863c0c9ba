"""The input: numbered records that a writer keeps appending, and where each of them ends in the file."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from bisect import bisect_right
from pathlib import Path
from typing import Any

#: What the text of a record is made of; its length differs from record to record.
_WORDS = ("apple", "pear", "Größe", "漢字", 'quote " and \\', "line\nbreak", "🍋", "x" * 80)


def record(number: int) -> dict[str, Any]:
    """The record of that number; always the same."""
    mark = hashlib.sha256(str(number).encode()).hexdigest()
    words = [_WORDS[int(each, 16) % len(_WORDS)] for each in mark[: number % 5 + 1]]
    return {"n": number, "mark": mark, "text": " ".join(words), "amount": number / 4 + 0.125}


def line(number: int) -> bytes:
    """As it stands in the file."""
    return json.dumps(record(number), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


#: Records per second once there are enough.
_TRICKLE = 300.0


class Writer:
    """Appends records at a rate until it is told to finish, in pieces that end in the middle of a line."""

    def __init__(self, path: Path, *, at_least: int, per_second: float) -> None:
        self._path = path
        self._at_least = at_least
        self._per_second = per_second
        self._ends: list[int] = []
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._write, name="writer")

    def start(self) -> None:
        """Begin to append."""
        self._path.touch()
        self._thread.start()

    def finish(self) -> None:
        """Append what is missing of `at_least`, at once; returns when everything stands there."""
        self._hurry.set()
        self._thread.join()

    @property
    def written(self) -> int:
        """How many records stand in the file, whole."""
        return len(self._ends)

    def before(self, offset: int) -> int:
        """How many records end at or before that byte."""
        return bisect_right(self._ends, offset)

    def _due(self, seconds: float) -> int:
        """At the full rate until there is enough; after that a trickle, so that the flow never rests."""
        due = seconds * self._per_second
        enough = min(due, self._at_least)
        return int(enough + (due - enough) * min(1.0, _TRICKLE / self._per_second))

    def _write(self) -> None:
        began, offset = time.monotonic(), 0
        with self._path.open("ab", buffering=0) as file:
            while not (self._hurry.is_set() and len(self._ends) >= self._at_least):
                due = self._at_least if self._hurry.is_set() else self._due(time.monotonic() - began)
                lines = [line(each) for each in range(len(self._ends), due)]
                if lines:
                    piece = b"".join(lines)
                    cut = len(piece) - len(lines[-1]) // 2
                    file.write(piece[:cut])
                    self._hurry.wait(0.002)
                    file.write(piece[cut:])
                for each in lines:
                    offset += len(each)
                    self._ends.append(offset)
                self._hurry.wait(0.003)


class Putting(Writer):
    """Hands records over instead, some at a time."""

    def __init__(self, *, at_least: int, per_second: float) -> None:
        super().__init__(Path(), at_least=at_least, per_second=per_second)

    def start(self) -> None:
        self._thread.start()

    def before(self, offset: int) -> int:
        """A place in the stream is a number of records."""
        return offset

    def _write(self) -> None:
        began = time.monotonic() - self.written / self._per_second
        while not (self._hurry.is_set() and self.written >= self._at_least):
            due = self._at_least if self._hurry.is_set() else self._due(time.monotonic() - began)
            if due > self.written:
                self._put(range(self.written, due))
                self._ends.extend(range(self.written, due))
            self._hurry.wait(0.005)

    def _put(self, numbers: range) -> None:
        raise NotImplementedError
