"""Which definitions come into the store at a start; a marker decides, never the number of jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mstream.config.system import StartupState
from mstream.control.differences import file_hash
from mstream.domain.connector import ConnectorSpec
from mstream.domain.plan import MarkerPhase, SeedMarker, Situation

SEED_AGAIN = "everything was deleted; nothing runs; seed again with `mstream apply`"
NOTHING_KEPT = "no store keeps jobs: the file alone decides, and commands do not survive a restart"
_CUT_OFF = "a filling of the store was cut off"
_NOT_STORED = "the file has it, the store does not: `mstream apply` adds it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """What a start adds to the store."""

    #: Added unless they are stored.
    connectors: Mapping[str, ConnectorSpec] = field(default_factory=dict)
    #: Why these are added.
    why: str = ""
    #: Why the file's others are not.
    why_not: str = _NOT_STORED
    marker: SeedMarker | None = None
    notes: tuple[str, ...] = ()


def filling(situation: Situation) -> Filling:
    """What is added, by startup state and marker."""
    of_file = {each.name: each for each in situation.connectors}
    if not situation.keeps_jobs:
        return Filling(connectors=of_file, why="the file names it", notes=(NOTHING_KEPT,))
    match situation.startup_state:
        case StartupState.FORCE_FROM_FILE:
            return Filling(
                connectors=of_file, why="the file names it, and it is not stored yet", notes=_idle(situation)
            )
        case StartupState.KEEP:
            why_not = "startup_state = keep ignores the file's connectors"
            notes = _idle(situation)
            if not _is_filled(situation):
                notes += ("nothing is stored; nothing runs until a job is created or `mstream apply` adds some",)
            return Filling(why_not=why_not, notes=notes)
        case _:
            return _seeding(situation, of_file)


def marker_of_apply(situation: Situation) -> SeedMarker | None:
    """A store that `apply` has filled is not filled again by a start, whatever is deleted; None: the marker stays."""
    if situation.marker is not None or situation.damaged_marker is not None or not situation.keeps_jobs:
        return None
    return SeedMarker(phase=MarkerPhase.DONE, file_hash=file_hash(situation.connectors), origin="applied")


def _seeding(situation: Situation, of_file: Mapping[str, ConnectorSpec]) -> Filling:
    marker = situation.marker
    if situation.damaged_marker is not None:
        note = (
            f"the marker of the store cannot be read ({situation.damaged_marker.reason}); it stays as it is, and"
            " nothing is added from the file: `mstream apply` does"
        )
        return Filling(notes=(note,))
    if marker is not None and marker.phase is MarkerPhase.BEGUN:
        note = f"{_CUT_OFF}; it goes on with the definitions that it was begun with"
        return Filling(
            connectors={each.name: each for each in marker.connectors},
            why=f"{_CUT_OFF} before it was stored, and goes on",
            marker=marker,
            notes=(note,),
        )
    if marker is not None:
        return Filling() if _is_filled(situation) else Filling(why_not=SEED_AGAIN, notes=(SEED_AGAIN,))
    if _is_filled(situation):
        adopted = SeedMarker(phase=MarkerPhase.DONE, origin="adopted")
        note = "the store holds jobs and no marker, as mstream v0.47 leaves it; it is adopted as it stands"
        return Filling(marker=adopted, notes=(note,))
    begun = SeedMarker(
        phase=MarkerPhase.BEGUN, file_hash=file_hash(situation.connectors), connectors=situation.connectors
    )
    return Filling(connectors=of_file, why="the empty store is filled from the file", marker=begun)


def _is_filled(situation: Situation) -> bool:
    """A document that cannot be read is one too."""
    return bool(situation.jobs or situation.damaged_jobs)


def _idle(situation: Situation) -> tuple[str, ...]:
    if situation.marker is not None and situation.marker.phase is MarkerPhase.BEGUN:
        return (f"{_CUT_OFF}; it goes on at a start with startup_state = seed_from_file",)
    return ()
