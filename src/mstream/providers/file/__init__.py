"""PROVIDER: JSON Lines and text files, followed as sources; these and BSON, appended to as sinks."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mstream.domain.batch import Encoding
from mstream.domain.checkpoint import Begin, Lane
from mstream.domain.connector import SinkRef, SourceRef
from mstream.ports.provider import Provider, SinkRole, SourceRole
from mstream.ports.roles import Lanes, Resume, Sink, Source
from mstream.providers.file.config import FileConfig, FileSinkOptions, FileSourceOptions, leads_out

if TYPE_CHECKING:
    from mstream.providers.file.folder import Folder

_LINES = frozenset({Encoding.JSON, Encoding.TEXT})
_WRITTEN = _LINES | {Encoding.BSON}


@asynccontextmanager
async def _connect(config: FileConfig) -> AsyncIterator[Folder]:
    from mstream.providers.file.folder import Folder  # noqa: PLC0415 - a descriptor imports no more than it describes

    yield Folder(config.name, Path(config.path))


@asynccontextmanager
async def _source(
    folder: Folder, ref: SourceRef, options: FileSourceOptions, resume: Resume, lanes: Lanes
) -> AsyncIterator[Source]:
    from mstream.providers.file.source import file_source  # noqa: PLC0415 - as above

    async with file_source(folder, ref, options, resume) as source:
        yield source


@asynccontextmanager
async def _sink(folder: Folder, ref: SinkRef, options: FileSinkOptions) -> AsyncIterator[Sink]:
    from mstream.providers.file.sink import file_sink  # noqa: PLC0415 - as above

    async with file_sink(folder, ref, options) as sink:
        yield sink


def _fingerprint(config: FileConfig, ref: SourceRef, options: FileSourceOptions) -> str:
    return f"file:{os.path.normpath(config.path)}:{ref.resource}"


def _refused(lane: Lane, position: Any) -> str | None:
    from mstream.providers.file.identity import Stored  # noqa: PLC0415 - as above

    try:
        is_place = Stored.of(position).offset >= 0
    except ValueError:
        is_place = False
    return None if lane and is_place else 'it takes {NAME: {"file": …, "offset": …}}, as `checkpoints show` has it'


def _source_problems(ref: SourceRef, options: FileSourceOptions) -> Sequence[tuple[str, str]]:
    return _place_problems(ref.resource)


def _sink_problems(ref: SinkRef, options: FileSinkOptions) -> Sequence[tuple[str, str]]:
    found = [*_place_problems(ref.resource)]
    if ref.output_encoding not in _WRITTEN:
        what = f"a file holds lines of json or text, or documents of bson, not {ref.output_encoding.value}"
        found.append(("output_encoding", what))
    return found


def _place_problems(resource: str) -> Sequence[tuple[str, str]]:
    reason = leads_out(resource)
    return () if reason is None else (("resource", f"{resource!r} {reason}"),)


PROVIDER: Provider[FileConfig, Folder] = Provider(
    name="file",
    config=FileConfig,
    connect=_connect,
    source=SourceRole(
        open=_source,
        fingerprint=_fingerprint,
        options=FileSourceOptions,
        begins={Begin.BEGINNING: {"start": "beginning"}, Begin.NOW: {"start": "end"}},
        encodings=_LINES,
        refuses=_refused,
        finite=True,
        reads=lambda ref, resource: ref.resource == resource,
        check=_source_problems,
    ),
    sink=SinkRole(open=_sink, options=FileSinkOptions, check=_sink_problems),
)
