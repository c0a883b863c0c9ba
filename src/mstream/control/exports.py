"""Exports: everything that is defined, and where it stands, out of a store that may be in use."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from mstream.control.transfer import BOUND_TO, FORMAT, Holdings, every, is_job
from mstream.control.withheld import with_questions
from mstream.domain.batch import JsonMode
from mstream.domain.service import ServiceConfig
from mstream.errors import Conflict, StoreError
from mstream.foundation.clock import Clock, timestamp
from mstream.foundation.tagged_json import to_text
from mstream.ports.documents import Document, Stored
from mstream.stores.encryption import KeyRing

#: Looks until two of them, one after the other, agree; and seconds between the first two.
_LOOKS: Final = 12
_PAUSE: Final = 0.02
#: What changes in a checkpoint while one run of the job goes on.
_MOVING: Final = frozenset({"positions", "sequence", "saved_at", "updated_at", "cursor"})
#: What v0.47 can read: it ends when it meets anything else.
_PROVIDERS_OF_V047: Final = frozenset({"http", "kafka", "mongodb", "pubsub", "udf"})
_MONGODB_OF_V047: Final = frozenset({"provider", "name", "connection_string", "db_name", "write_mode"})
_ENCODINGS_OF_V047: Final = frozenset({"avro", "bson", "json"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ForV047:
    """Documents by collection, as MongoDB's extended JSON."""

    documents: Mapping[str, Any]
    #: What v0.47 could not read, in sentences.
    left_out: Sequence[str]


async def exported(
    held: Holdings, services: Sequence[tuple[ServiceConfig, str]], *, ring: KeyRing | None, clock: Clock
) -> dict[str, Any]:
    """Everything, also while it is written: each job with a place that belongs to it, or an older one.

    `services`: with the origin of each. `ring`: seals them with all of their secrets; None: questions stand in place
    of those, which an import asks. Raises StoreError, Conflict when jobs begin anew all the time.
    """
    jobs, places = await _settled(held, clock)
    return {
        "format": FORMAT,
        "exported_at": timestamp(clock.now()),
        "services": [_service(config, origin, ring) for config, origin in services],
        "checkpoints": [_portable("checkpoint", {**each.document, "job_name": each.key}, each.key) for each in places],
        "jobs": [_portable("job", {**each.document, "name": each.key}, each.key) for each in jobs],
        #: Jobs that cannot be used where they were, and cannot where they go to.
        "damaged": [each.key for each in jobs if not is_job(each.document)],
    }


async def exported_for_v047(
    held: Holdings,
    services: Sequence[tuple[ServiceConfig, str]],
    *,
    known: Mapping[str, ServiceConfig],
    ring: KeyRing,
    clock: Clock,
) -> ForV047:
    """The same as v0.47 keeps it, services under the current key. `known`: every service that a job can name."""
    jobs, places = await _settled(held, clock)
    now = {"$date": timestamp(clock.now())}
    readable = [config for config, _ in services if _is_of_v047(config)]
    sealed = [(config.name, ring.seal_legacy(json.dumps(config.sealed()).encode())) for config in readable]
    fitting = {each.key for each in jobs if is_job(each.document) and _is_job_of_v047(each.document, known)}
    standing = [each for each in places if "cursor" in each.document]
    left_out = [
        *(f"service {config.name!r}" for config, _ in services if not _is_of_v047(config)),
        *(f"job {each.key!r}" for each in jobs if each.key not in fitting),
        *(f"checkpoint {each.key!r}" for each in places if "cursor" not in each.document),
    ]
    documents = {
        "services": [
            {"name": name, "data": list(data), "nonce": list(nonce), "updated_at": now}
            for name, (nonce, data) in sealed
        ],
        "checkpoints": [_extended({**each.document, "job_name": each.key}) for each in standing],
        "jobs": [_extended({**each.document, "name": each.key}) for each in jobs if each.key in fitting],
    }
    return ForV047(documents=documents, left_out=left_out)


def _service(config: ServiceConfig, origin: str, ring: KeyRing | None) -> dict[str, Any]:
    if ring is None:
        return {"name": config.name, "origin": origin, "definition": with_questions(config)}
    envelope = ring.seal(json.dumps(config.sealed()).encode(), collection=BOUND_TO, name=config.name)
    return {"name": config.name, "origin": origin, "envelope": envelope}


def _portable(what: str, document: Document, key: str) -> Document:
    """The same. Raises Conflict where it holds what only its database can hold."""
    try:
        to_text(document)
    except StoreError as error:
        message = f"{what} {key!r} cannot be written to a file: {error}; take that field out, then export again"
        raise Conflict(message) from None
    return document


async def _settled(held: Holdings, clock: Clock) -> tuple[list[Stored], list[Stored]]:
    """Jobs and their places as they were at one moment, as far as that matters.

    A place is spread over several documents, and goes from one into others when a run begins or an operator puts the
    job elsewhere; between two looks that agree nothing of that kind has happened.
    """
    jobs, places = await _looked(held)
    pause, differing = _PAUSE, set[str]()
    for _ in range(_LOOKS):
        following, later = await _looked(held)
        differing = _differing(jobs, following, _definition) | _differing(places, later, _standing)
        if not differing:
            return following, places
        jobs, places = following, later
        await clock.sleep(pause)
        pause *= 2
    names = ", ".join(map(repr, sorted(differing)))
    message = f"these change all the time: {names}; stop or pause such jobs, then export again"
    raise Conflict(message)


async def _looked(held: Holdings) -> tuple[list[Stored], list[Stored]]:
    jobs = [each async for each in every(held.jobs)]
    return jobs, [each async for each in every(held.checkpoints)]


def _differing(before: Sequence[Stored], after: Sequence[Stored], part: Any) -> set[str]:  # noqa: ANN401 - of a document
    ours, theirs = ({each.key: part(each) for each in found} for found in (before, after))
    return {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}


def _definition(stored: Stored) -> object:
    return [stored.document.get("pipeline")]


def _standing(stored: Stored) -> object:
    """Of a lane only that it is there; of a job everything that a run does not change as it goes."""
    if "/" in stored.key:
        return True
    return {key: value for key, value in stored.document.items() if key not in _MOVING}


def _is_of_v047(config: ServiceConfig) -> bool:
    engine = getattr(config, "engine", None)
    if config.provider not in _PROVIDERS_OF_V047 or (engine is not None and engine.kind != "rhai"):
        return False
    if config.provider != "mongodb":
        return True
    # What a field of ours says there, it would not know: it would log on without the user, or insert what is merged.
    ours = {key: each for key, each in type(config).model_fields.items() if key not in _MONGODB_OF_V047}
    is_plain = all(getattr(config, key) == each.default for key, each in ours.items())
    return is_plain and _writes_as_v047(dict(config.settings()))


def _writes_as_v047(settings: Mapping[str, Any]) -> bool:
    return settings.get("write_mode") in {None, "insert", "replace"}


def _is_job_of_v047(document: Document, known: Mapping[str, ServiceConfig]) -> bool:
    """Unknown fields are nothing to it; unknown providers and encodings are, JSON that is not flat, and Avro keys."""
    pipeline = document["pipeline"]
    parts = [pipeline["source"], *(pipeline.get("middlewares") or ()), *pipeline["sinks"]]
    encodings = {each.get(key) or "json" for each in parts for key in ("input_encoding", "output_encoding")}
    schemas = pipeline.get("schemas") or ()
    if not all(each.get("service_name") and each.get("resource") and not each.get("text") for each in schemas):
        return False  # it has no texts in definitions
    services = [known.get(each["service_name"]) for each in (*parts, *schemas)]
    is_flat = all(each.get("json_mode") in {None, JsonMode.FLAT} and _writes_as_v047(each) for each in parts)
    has_plain_keys = all(each.get("key_schema_id") is None for each in parts)
    return (
        encodings <= _ENCODINGS_OF_V047
        and is_flat
        and has_plain_keys
        and all(each is None or _is_of_v047(each) for each in services)
    )


def _extended(value: Any) -> Any:  # noqa: ANN401 - any value of a document
    match value:
        case bytes():
            return {"$binary": {"base64": base64.b64encode(value).decode("ascii"), "subType": "00"}}
        case datetime():
            return {"$date": timestamp(value.astimezone(UTC))}
        case Mapping():
            return {key: _extended(each) for key, each in value.items()}
        case list() | tuple():
            return [_extended(each) for each in value]
        case _:
            return value
