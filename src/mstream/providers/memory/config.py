"""Fields of a memory service, and the options of its roles."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mstream.domain.service import RoleOptions, ServiceConfig


class MemoryConfig(ServiceConfig):
    """Queues and documents in this process; they end with it."""

    provider: Literal["memory"] = "memory"


class MemorySourceOptions(RoleOptions):
    """How a queue is read."""

    #: Where a lane without a stored position begins.
    start: Literal["beginning", "end"] = "beginning"
    #: Reads only the lanes that it is given, as a member of a group, instead of all.
    member: bool = False


class MemorySinkOptions(RoleOptions):
    """How a queue is written."""

    #: Records stay in the lane that they came from, instead of all going to one.
    keep_lanes: bool = False
    #: How many writes may be under way at once.
    overlap: int = Field(default=1, ge=1, le=64)
