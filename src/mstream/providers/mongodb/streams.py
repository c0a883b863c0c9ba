"""A change stream as commands, and what its errors mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import bson
from bson import Regex
from pymongo.errors import OperationFailure, PyMongoError

from mstream.errors import AccessDenied, PositionLost, ResourceMissing, ServiceError, Unreachable

from .config import MongodbSourceOptions, Watch, is_pattern
from .faults import service_error, told
from .fragments import STAGE
from .places import Place

#: How long the server waits for events before it says that there are none, in milliseconds.
PATIENCE_MS: Final = 1000

_HISTORY_LOST: Final = 286
_NO_STAGE: Final = 40324
#: Timed out, killed, or what it reads was dropped or rolled back: asked anew, the server says which.
_CURSOR_GONE: Final = frozenset({43, 175, 237})

_DENIED: Final = (
    AccessDenied,
    (
        "the server does not let us watch; check user, password and authSource; the user needs find and changeStream"
        " there (role read; for a deployment readAnyDatabase)"
    ),
)
_UNUSABLE: Final = (PositionLost, "the server cannot go on from the stored position; reset the job's checkpoint")
#: What a code of the server means, and what to do about it.
_MEANINGS: Final[dict[int, tuple[type[ServiceError], str]]] = {
    **dict.fromkeys((11, 13, 18, 8000), _DENIED),
    **dict.fromkeys((260, 280), _UNUSABLE),
    _HISTORY_LOST: (
        PositionLost,
        (
            "the oplog no longer reaches back to the stored position; reset the job's checkpoint,"
            " or set on_history_lost = 'resnapshot' to read all documents again, or 'restart_from_now': what lies"
            " between is lost"
        ),
    ),
    26: (ResourceMissing, "there is no such database; create it, or check db_name"),
    47: (
        ServiceError,
        (
            "an event has no image of its document; enable changeStreamPreAndPostImages on the collection, or do not"
            " ask for 'required'"
        ),
    ),
    166: (ServiceError, "a view has no change stream; watch the collection behind it"),
    10334: (
        ServiceError,
        (
            "an event is larger than 16 MB; set split_large_events = true (MongoDB 6.0.9, 7.0 and later), or leave"
            " fields out with a $project or $unset in `pipeline`"
        ),
    ),
    _NO_STAGE: (
        ServiceError,
        "the server does not know a stage that it is asked for; set split_large_events = false, and look at `pipeline`",
    ),
    40573: (
        ServiceError,
        "change streams need a replica set; start mongod with --replSet and call rs.initiate(); one member is enough",
    ),
}


def opening(resource: str, options: MongodbSourceOptions, place: Place, *, splits: bool = False) -> dict[str, Any]:
    """The command that opens the stream."""
    stage: dict[str, Any] = {"fullDocument": options.full_document.sent}
    if options.full_document_before_change.sent != "off":
        stage["fullDocumentBeforeChange"] = options.full_document_before_change.sent
    if options.expanded_events:
        stage["showExpandedEvents"] = True
    if options.watch is Watch.DEPLOYMENT:
        stage["allChangesForCluster"] = True
    if place.token is not None:
        # as `resumeAfter`, and behind an invalidate too
        stage["startAfter"] = bson.decode(place.token)
    elif place.time is not None:
        stage["startAtOperationTime"] = place.time
    return {
        "aggregate": resource if options.watch is Watch.COLLECTION else 1,
        "pipeline": [{"$changeStream": stage}, *_chosen(options), *options.pipeline, *([STAGE] if splits else [])],
        "cursor": {},
        "readConcern": {"level": "majority"},
    }


def _chosen(options: MongodbSourceOptions) -> list[dict[str, Any]]:
    """The stage that leaves in what is told of some collections, and of the database as a whole."""
    if not options.collections:
        return []
    names = {"$in": [Regex(each[1:-1]) if is_pattern(each) else each for each in options.collections]}
    # what is renamed to one of them is one of them from then on
    return [{"$match": {"$or": [{"ns.coll": names}, {"to.coll": names}, {"ns.coll": {"$exists": False}}]}}]


def is_member(hello: Mapping[str, Any]) -> bool:
    """Whether it is a replica set's, or a router; no stand-in calls itself so."""
    return "setName" in hello or hello.get("msg") == "isdbgrid"


def is_history_lost(error: BaseException) -> bool:
    """Whether the server no longer has what came after the token."""
    return isinstance(error, OperationFailure) and error.code == _HISTORY_LOST


def is_stage_unknown(error: BaseException) -> bool:
    """Whether the server does not know a stage of the pipeline."""
    return isinstance(error, OperationFailure) and error.code == _NO_STAGE


def stream_error(error: BaseException, what: str) -> ServiceError:
    """The error of a stream, with what to do about it."""
    code = error.code if isinstance(error, OperationFailure) else None
    if code in _MEANINGS:
        kind, advice = _MEANINGS[code]
        return kind(f"{what}: {advice}")
    is_resumable = isinstance(error, PyMongoError) and error.has_error_label("ResumableChangeStreamError")
    if is_resumable or code in _CURSOR_GONE:
        return Unreachable(f"{what}: {told(error)}")
    return service_error(error, what)
