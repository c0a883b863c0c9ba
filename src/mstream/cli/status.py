"""Status lines on a terminal: one per job, with records, rate, lag and errors."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from mstream.control.jobs import JobManager, JobView
from mstream.domain.job import Phase
from mstream.foundation.clock import Clock, SystemClock

_COLOURS = {Phase.RUNNING: "green", Phase.RETRYING: "yellow", Phase.FAILED: "red"}
#: Seconds over which a rate is taken.
_WINDOW = 1.0


class StatusLines:
    """Drawn under the log while the body runs; writes to standard error alone."""

    def __init__(self, manager: JobManager, *, clock: Clock | None = None) -> None:
        self._manager = manager
        self._clock = clock or SystemClock()
        self._rates: dict[str, _Rate] = {}
        # The log writes to `sys.stderr`, which Live puts itself before: its lines appear above.
        console = Console(file=sys.stderr)
        self._live = Live(
            console=console,
            get_renderable=self._table,
            refresh_per_second=4,
            redirect_stdout=False,
            redirect_stderr=True,
            transient=False,
        )

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        now = self._clock.monotonic()
        for view in self._manager.views():
            rate = self._rates.setdefault(view.job.name, _Rate())
            table.add_row(*cells(view, rate.of(view.status.records_delivered, now)))
        return table


class _Rate:
    """Records per second over the last window; a counter that has fallen begins a new one."""

    def __init__(self) -> None:
        self._at = 0.0
        self._count = 0
        self._rate = 0.0

    def of(self, count: int, now: float) -> float:
        seconds = now - self._at
        if count < self._count or not self._at:
            self._at, self._count, self._rate = now, count, 0.0
        elif seconds >= _WINDOW:
            self._at, self._count, self._rate = now, count, (count - self._count) / seconds
        return self._rate


def cells(view: JobView, rate: float) -> list[str]:
    """What one line says."""
    job, status = view.job, view.status
    colour = _COLOURS.get(job.phase, "default")
    lag = _lag(view)
    line = [
        f"[bold]{job.name}[/bold]",
        f"[{colour}]{job.phase.value}[/{colour}]",
        f"{status.records_delivered:,} records",
        f"{rate:,.0f}/s",
        f"lag {lag}",
        f"{status.errors} errors",
    ]
    if len(view.members) > 1:
        line.append(f"{sum(each.phase is Phase.RUNNING for each in view.members)}/{len(view.members)} members")
    if job.failure is not None and job.phase in {Phase.FAILED, Phase.RETRYING}:
        line.append(f"{job.failure.reason}")
    return line


def _lag(view: JobView) -> str:
    status = view.status
    if status.lag_records is not None:
        return f"{status.lag_records:,} records"
    if status.lag_bytes is not None:
        return f"{status.lag_bytes:,} bytes"
    if status.lag_seconds is not None:
        return f"{status.lag_seconds:.1f} s"
    return "-"
