"""Who may write after a failure: what was given back comes again before anything that was begun behind it."""

from __future__ import annotations

import asyncio
from typing import Any, Final

#: Turns of the loop after the end of a write that has failed in which another may come that was begun before it ended.
_SETTLING: Final = 3


class Order:
    """Counts writes, and remembers those that were given back; everything happens on one loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._inside = 0
        #: Who has been told to come again: it does so in the same task.
        self._tasks: set[asyncio.Task[Any]] = set()
        self._first: int | None = None
        self._settling = 0

    def enter(self) -> None:
        """A write begins."""
        self._inside += 1

    def leave(self) -> None:
        """A write has ended, and nothing is given back."""
        self._inside -= 1

    def give_back(self, number: int | None) -> None:
        """A write has ended, and is to come again; the number of its lot, where it has come to one."""
        self.leave()
        if number is not None:
            self._first = number if self._first is None else min(self._first, number)
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        self._settling = _SETTLING
        self._loop.call_soon(self._settle)

    def is_settled(self) -> bool:
        """Everything is given back, and who asks was, or can be no one that was begun behind them unknowing."""
        return not self._inside and (not self._settling or asyncio.current_task() in self._tasks)

    def is_before_all(self, number: int) -> bool:
        """No lot with a smaller number was given back."""
        return self._first is None or self._first >= number

    def begin_anew(self) -> None:
        """What was given back comes again."""
        self._tasks.clear()
        self._first = None

    def _settle(self) -> None:
        self._settling = max(0, self._settling - 1)
        if self._settling:
            self._loop.call_soon(self._settle)
