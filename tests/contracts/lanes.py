"""What a source is given beside its resource, where nobody takes lanes away."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from mstream.domain.checkpoint import Lane, Position


class NoLanes:
    """For a source that has its lanes to itself."""

    async def assigned(self, lanes: Collection[Lane]) -> Mapping[Lane, Position]:
        return {}

    async def revoked(self, lanes: Collection[Lane], deadline: float) -> Mapping[Lane, Position]:
        return {}

    async def lost(self, lanes: Collection[Lane]) -> None:
        return None
