"""The file provider's source and sink as the engine holds them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import bson
import pytest

from mstream.domain.batch import Batch, Encoding
from mstream.domain.checkpoint import Lane, Position, merged
from mstream.domain.connector import SinkRef, SourceRef
from mstream.errors import AccessDenied, ResourceMissing, ServiceError
from mstream.ports.provider import role_options
from mstream.ports.roles import Finite, Limit, Resume, Sink, Source
from mstream.providers.file import PROVIDER
from mstream.providers.file.config import FileConfig
from tests.contracts.lanes import NoLanes


@asynccontextmanager
async def opened_source(
    folder: Path, resource: str, positions: Mapping[Lane, Position] | None = None, **options: Any
) -> AsyncIterator[Source]:
    assert PROVIDER.source is not None
    config = FileConfig(name="files", path=str(folder))
    ref = SourceRef(service_name="files", resource=resource, **options)
    role = role_options(PROVIDER.source.options, config, ref)
    async with (
        PROVIDER.connect(config) as live,
        PROVIDER.source.open(live, ref, role, Resume(positions=positions or {}), NoLanes()) as source,
    ):
        yield source


@asynccontextmanager
async def opened_sink(folder: Path, resource: str, **options: Any) -> AsyncIterator[Sink]:
    assert PROVIDER.sink is not None
    config = FileConfig(name="files", path=str(folder))
    ref = SinkRef(service_name="files", resource=resource, **options)
    role = role_options(PROVIDER.sink.options, config, ref)
    async with PROVIDER.connect(config) as live, PROVIDER.sink.open(live, ref, role) as sink:
        yield sink


async def with_records(source: Source) -> Batch:
    while (batch := await source.read(Limit())) is not None and not len(batch):
        pass
    assert batch is not None
    return batch


async def test_a_source_follows_a_sink_through_its_rotations_and_through_restarts(tmp_path: Path) -> None:
    wanted = [b"%d" % each for each in range(3000)]
    got: list[bytes | None] = []
    positions: dict[Lane, Position] = {}
    # what is put aside before a source without a position looks for the first time is not its own
    is_known = asyncio.Event()

    async def write() -> None:
        async with opened_sink(tmp_path, "log", rotate_bytes=700) as sink:
            for start in range(0, 3000, 30):
                await sink.write(Batch(payloads=wanted[start : start + 30]))
                await (asyncio.sleep(0.001) if start else is_known.wait())

    async with asyncio.timeout(25), asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        while len(got) < 3000:
            async with opened_source(tmp_path, "log", positions) as source:
                for _ in range(9):
                    batch = await source.read(Limit(records=100))
                    assert batch is not None
                    got += batch.payloads or []
                    positions = merged(positions, batch.positions)
                    is_known.set()
                    if len(got) >= 3000:
                        break

    assert got == wanted


async def test_text_comes_as_text(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes("Zoë\r\n\n  indented\n".encode())

    async with opened_source(tmp_path, "log", input_encoding="text") as source:
        batch = await with_records(source)

    assert batch.encoding is Encoding.TEXT
    assert batch.payloads == ["Zoë".encode(), b"  indented"]


async def test_a_folder_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ResourceMissing, match="there is no folder"):
        async with opened_source(tmp_path / "nowhere", "log"):
            pass


@pytest.mark.parametrize("resource", ["../log", "/log"])
async def test_a_resource_outside_the_folder_is_said_at_once(tmp_path: Path, resource: str) -> None:
    with pytest.raises(AccessDenied):
        async with opened_source(tmp_path, resource):
            pass
    with pytest.raises(AccessDenied):
        async with opened_sink(tmp_path, resource):
            pass


async def test_where_a_quiet_file_is_read_from_its_end_the_position_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"1\n2\n")

    async with opened_source(tmp_path, "log", start="end") as source:
        batch = await source.read(Limit())

    assert batch is not None
    assert len(batch) == 0
    assert batch.positions["log"]["offset"] == 4


async def test_records_of_several_files_that_were_gathered_keep_their_own_positions(tmp_path: Path) -> None:
    from mstream.domain.batch import concat

    for name in ("a", "b"):
        (tmp_path / name).write_bytes(f"1{name}\n2{name}\n".encode())
    async with opened_source(tmp_path, "?") as source:
        both = concat([await with_records(source), await with_records(source)])
        positions = source.positions(both, 3)

    async with opened_source(tmp_path, "?", merged({}, positions)) as source:
        assert isinstance(source, Finite)
        await source.finish()
        rest = [await source.read(Limit()), await source.read(Limit())]

    assert [each and each.payloads for each in rest] == [[b"2b"], None]


@pytest.mark.parametrize("fsync", ["checkpoint", "batch", "never"])
async def test_every_way_to_sync_writes_the_same(tmp_path: Path, fsync: str) -> None:
    async with opened_sink(tmp_path, "log", fsync=fsync) as sink:
        await sink.write(Batch(payloads=[b"1"]))
        await sink.flush()  # type: ignore[attr-defined]  # this sink is Flushed

    assert (tmp_path / "log").read_bytes() == b"1\n"


async def test_tombstones_are_left_out_where_the_ref_says_so(tmp_path: Path) -> None:
    async with opened_sink(tmp_path, "log", on_delete="ignore") as sink:
        failures = await sink.write(Batch(payloads=[b"1", None]))

    assert list(failures) == []
    assert (tmp_path / "log").read_bytes() == b"1\n"


async def test_no_thread_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"1\n")
    before = set(threading.enumerate())

    async with opened_source(tmp_path, "log") as source, opened_sink(tmp_path, "out") as sink:
        batch = await source.read(Limit())
        assert batch is not None
        await sink.write(batch)

    assert set(threading.enumerate()) <= before


async def test_documents_stand_one_behind_the_other_and_half_a_one_is_cut_off(tmp_path: Path) -> None:
    documents = [bson.encode({"_id": each, "none": None, "text": "a\nb"}) for each in range(4)]
    broken = [b"", b"no document", documents[0][:-1], None]

    async with opened_sink(tmp_path, "out.bson", output_encoding=Encoding.BSON) as sink:
        payloads = [documents[0], *broken, documents[1]]
        failures = await sink.write(Batch(payloads=payloads, encoding=Encoding.BSON))
    with (tmp_path / "out.bson").open("ab") as file:
        file.write(documents[2][:-3])
    async with opened_sink(tmp_path, "out.bson", output_encoding=Encoding.BSON) as sink:
        await sink.write(Batch(payloads=documents[2:], encoding=Encoding.BSON))

    assert [each.index for each in failures] == [1, 2, 3, 4]
    assert (tmp_path / "out.bson").read_bytes() == b"".join(documents)


@pytest.mark.parametrize("before", [b'{"a":1}\n', b"\x04\0\0\0", b"\xff" * 9])
async def test_a_file_of_something_else_is_left_alone(tmp_path: Path, before: bytes) -> None:
    (tmp_path / "out").write_bytes(before)

    with pytest.raises(ServiceError, match="no BSON document at byte 0"):
        async with opened_sink(tmp_path, "out", output_encoding=Encoding.BSON):
            pass

    assert (tmp_path / "out").read_bytes() == before


def test_lines_and_documents_can_be_written() -> None:
    assert PROVIDER.sink is not None
    options = PROVIDER.sink.options()
    problems = {
        encoding: PROVIDER.sink.check(
            SinkRef(service_name="f", resource="r", output_encoding=Encoding(encoding)), options
        )
        for encoding in Encoding
    }

    assert {encoding for encoding, found in problems.items() if found} == {Encoding.AVRO}


def test_a_position_belongs_to_folder_and_resource() -> None:
    assert PROVIDER.source is not None

    def fingerprint(path: str, resource: str) -> str:
        assert PROVIDER.source is not None
        ref = SourceRef(service_name="files", resource=resource)
        return PROVIDER.source.fingerprint(FileConfig(name="files", path=path), ref, PROVIDER.source.options())

    assert fingerprint("./data/", "a") == fingerprint("data", "a")
    assert len({fingerprint("data", "a"), fingerprint("data", "b"), fingerprint("other", "a")}) == 3
