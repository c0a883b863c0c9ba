"""Which positions are safe: the unbroken prefix of settled batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from mstream.domain.checkpoint import Lane, Position


@dataclass(slots=True, eq=False)
class Ticket:
    """One batch on its way."""

    sequence: int
    positions: dict[Lane, Position | None] = field(default_factory=dict)
    settled: bool = False
    #: Nothing after this batch may become safe.
    last: bool = False


class Settlement:
    """Batches in read order; a position is safe once its batch and every earlier one are settled."""

    def __init__(self) -> None:
        self._open: deque[Ticket] = deque()
        self._count = 0
        self._closed = False

    def track(self, positions: Mapping[Lane, Position | None]) -> Ticket:
        """Enter a batch that was just read."""
        self._count += 1
        ticket = Ticket(self._count, dict(positions))
        self._open.append(ticket)
        return ticket

    def cut(self, ticket: Ticket, positions: Mapping[Lane, Position | None]) -> None:
        """Only a part of this batch will be settled, up to these positions, and nothing after it."""
        ticket.positions = dict(positions)
        ticket.last = True

    def settle(self, ticket: Ticket) -> dict[Lane, Position | None]:
        """This batch is done; answers the positions that have become safe with it."""
        ticket.settled = True
        safe: dict[Lane, Position | None] = {}
        while self._open and self._open[0].settled and not self._closed:
            first = self._open.popleft()
            safe.update(first.positions)
            self._closed = first.last
        return safe

    def is_safe(self, ticket: Ticket) -> bool:
        """Whether this batch and every earlier one are settled."""
        return ticket.settled and not (self._open and self._open[0].sequence <= ticket.sequence)

    def forget(self, lanes: Collection[Lane]) -> None:
        """Positions of these lanes will not become safe any more."""
        for ticket in self._open:
            for lane in lanes:
                ticket.positions.pop(lane, None)

    def is_open(self, lanes: Collection[Lane] | None = None) -> bool:
        """Whether a batch (with one of these lanes) is still on its way."""
        if lanes is None:
            return bool(self._open)
        return any(lane in each.positions for each in self._open for lane in lanes)
