"""What a run is told while it runs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from mstream.engine.orders import Orders


@dataclass(slots=True)
class RunControl:
    """Set on the run's own loop; an event that is set stays set."""

    #: Every role is open; set by the run.
    started: asyncio.Event = field(default_factory=asyncio.Event)
    #: Read no more, deliver what was read, save, end.
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    #: End at the source's head of this moment.
    finishing: asyncio.Event = field(default_factory=asyncio.Event)
    #: What it is asked for meanwhile.
    orders: Orders = field(default_factory=Orders)
    #: Monotonic seconds until which the run may deliver; None: there is no lease.
    lease_until: float | None = None
