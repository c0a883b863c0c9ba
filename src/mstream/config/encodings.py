"""Checks on the encodings that a connector's records go through, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any, Final

from mstream.config.problems import Code, Finding, Path, warning
from mstream.config.tables import text_at
from mstream.domain.batch import Encoding, JsonMode
from mstream.encodings import reason_unavailable

_LOST: Final = {
    JsonMode.FLAT: "ids, times and decimals have become text",
    JsonMode.RELAXED: "whole numbers of 64 bits that would go into 32 come back as such",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One encoding that records are in, and where the file says so."""

    path: Path
    encoding: Encoding
    mode: JsonMode = JsonMode.FLAT
    #: The alias of a schema that it names.
    schema: str | None = None
    #: The sink makes it by itself of what it is given.
    is_of_sink: bool = False


def stage_of(path: Path, table: Mapping[str, Any]) -> Stage | None:
    """What leaves a step; None: what it says is wrong, which is told elsewhere."""
    try:
        encoding = Encoding(table.get("output_encoding", Encoding.JSON))
        mode = JsonMode(table.get("json_mode", JsonMode.FLAT))
    except ValueError:
        return None
    path = (*path, "output_encoding")
    return Stage(path=path, encoding=encoding, mode=mode, schema=text_at(table, "schema_id"))


def arrival(path: Path, table: Mapping[str, Any], default: Encoding) -> Stage | None:
    """What comes out of the source's service."""
    given, schema = text_at(table, "input_encoding"), text_at(table, "schema_id")
    if given is None:
        return Stage(path=path, encoding=default, schema=schema)
    path = (*path, "input_encoding")
    return Stage(path=path, encoding=Encoding(given), schema=schema) if given in list(Encoding) else None


def encoding_findings(steps: Sequence[Stage], sinks: Sequence[Sequence[Stage]]) -> Iterator[Finding]:
    """Of the encodings one after the other, and of what each sink makes of the last of them."""
    told = set()
    for stage in (*steps, *chain.from_iterable(sinks)):
        reason = reason_unavailable(stage.encoding)
        if reason and stage.encoding not in told:
            told.add(stage.encoding)
            yield warning(stage.path, Code.ENCODING_UNAVAILABLE, f"{reason}; without it the job will fail")
    if found := _without_schema(steps, sinks):
        yield found
    yield from _lost(steps, told_from=0)
    for sink in sinks:
        yield from _lost([*steps, *sink], told_from=len(steps))


def _without_schema(steps: Sequence[Stage], sinks: Sequence[Sequence[Stage]]) -> Finding | None:
    """Where Avro is made, or looked into, and no schema is named up to there; what passes through needs none."""
    first = 2  # behind the source's step, of a middleware
    for sink in sinks:
        named = None
        for place, (before, stage) in enumerate(pairwise([*steps, *sink]), start=1):
            named = stage.schema or before.schema or named
            is_read = first <= place < len(steps) and before.encoding is Encoding.AVRO
            is_made = Encoding.AVRO in {before.encoding, stage.encoding} and before.encoding is not stage.encoding
            if stage.is_of_sink and before.encoding is Encoding.AVRO:
                message = f"this service makes {stage.encoding} of its records by itself, and not of Avro"
                advice = f'use output_encoding = "{stage.encoding}"'
                return Finding(path=stage.path, code=Code.BAD_VALUE, message=message, suggestion=advice)
            if named is None and (is_read or is_made):
                message = "records are in Avro here, and no schema says how they are to be read or written"
                return Finding(
                    path=stage.path, code=Code.NO_SCHEMA, message=message, suggestion="name one by 'schema_id'"
                )
    return None


def _lost(stages: Sequence[Stage], *, told_from: int) -> Iterator[Finding]:
    """Where BSON is made of what was BSON before, from one of the stages on."""
    flattened: Stage | None = None
    for place, (before, stage) in enumerate(pairwise(stages), start=1):
        if before.encoding is Encoding.BSON and stage.encoding is not Encoding.BSON:
            flattened = stage if stage.encoding is Encoding.JSON and stage.mode in _LOST else None
        elif stage.encoding is Encoding.BSON:
            if flattened is not None and place >= told_from:
                yield _not_regained(stage.path, flattened.mode)
            flattened = None


def _not_regained(path: Path, mode: JsonMode) -> Finding:
    message = f"what was BSON, and then {mode.value} JSON, is made BSON again: {_LOST[mode]}"
    advice = 'use output_encoding = "bson" in every step, or json_mode = "canonical" in the one that makes JSON'
    return warning(path, Code.TYPES_LOST, message, advice)
