"""Test of a database: whether it opens; a file that is not there yet is not made."""

from __future__ import annotations

from pathlib import Path

from mstream.ports.probe import Outcome, ProbeStep

from .config import SqlConfig, sqlite_path
from .service import connect

_OPEN = "open"


async def probe(config: SqlConfig) -> list[ProbeStep]:
    """Opens it, unless that would make it. Raises as opening does."""
    if not config.is_made():
        folder = Path(sqlite_path(config.url.reveal()) or "").parent
        if not folder.is_dir():
            detail = f"there is no folder {str(folder)!r} for its file"
            return [ProbeStep(name=_OPEN, outcome=Outcome.FAILED, detail=detail, advice="make the folder")]
        return [ProbeStep(name=_OPEN, outcome=Outcome.OK, detail="its file is made when it is first used")]
    async with connect(config):
        return [ProbeStep(name=_OPEN, outcome=Outcome.OK)]
