"""Processes that share one event loop on virtual time: each can be frozen as a whole, wherever it stands.

Every step of a task, every timer and every callback belongs to the life in whose context it was made. While a life is
frozen its steps are held back, in their order; thawed, it goes on as if nothing had been.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

from tests.virtual import Deadlock, VirtualLoop

T = TypeVar("T")


class Life:
    """One process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_frozen = False
        #: How often it was.
        self.freezes = 0
        self.held: list[_Step] = []
        self.context: Context = copy_context()
        self.context.run(_LIFE.set, self)
        self._thaws: asyncio.TimerHandle | None = None

    def freeze(self, seconds: float, world: Context) -> None:
        """Nothing of it goes on for so long."""
        if not self.is_frozen:
            self.is_frozen = True
            self.freezes += 1
            self._thaws = asyncio.get_running_loop().call_later(seconds, self.thaw, context=world)

    def thaw(self) -> None:
        """It goes on."""
        self.is_frozen = False
        if self._thaws is not None:
            self._thaws.cancel()
        held, self.held = self.held, []
        for each in held:
            each.again()

    def does(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task of it."""
        return asyncio.get_running_loop().create_task(work, context=self.context)


_LIFE: ContextVar[Life | None] = ContextVar("life", default=None)


class _Step:
    """Something that a life does next."""

    __slots__ = ("args", "callback", "context", "handle", "life")

    def __init__(self, life: Life, callback: Callable[..., object], args: tuple[Any, ...], context: Context) -> None:
        self.life = life
        self.callback = callback
        self.args = args
        self.context = context
        #: As the loop has answered: who has it may cancel it, also while it is held.
        self.handle: asyncio.Handle | None = None

    def __call__(self) -> None:
        if self.life.is_frozen:
            self.life.held.append(self)
        elif self.handle is None or not self.handle.cancelled():
            self.callback(*self.args)

    def again(self) -> None:
        VirtualLoop.call_soon(asyncio.get_running_loop(), self, context=self.context)


class SharedLoop(VirtualLoop):
    """Holds back what belongs to a life that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self._virtual.select = self._skip  # type: ignore[method-assign]  # nothing of the system is waited for

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        step = _step(callback, args, context)
        if step is None:
            return super().call_soon(callback, *args, context=context)
        step.handle = super().call_soon(step, context=step.context)
        return step.handle

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> asyncio.TimerHandle:
        step = _step(callback, args, context)
        if step is None:
            return super().call_at(when, callback, *args, context=context)
        step.handle = handle = super().call_at(when, step, context=step.context)
        return handle

    def _skip(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Deadlock
        self._virtual.now += max(timeout, 0)
        return []


def _step(callback: Callable[..., object], args: tuple[Any, ...], context: Context | None) -> _Step | None:
    life = _LIFE.get() if context is None else context.get(_LIFE)
    if life is None:
        return None
    return _Step(life, callback, args, context or copy_context())


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run on a loop of its own."""
    loop = SharedLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()
