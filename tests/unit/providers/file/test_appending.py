from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mstream.errors import AccessDenied, ServiceError, StorageFull, Unreachable
from mstream.providers.file.appending import AppendedFile
from mstream.providers.file.folder import Folder
from tests.contracts.file_harness import FailingFolder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def opened() -> Iterator[list[AppendedFile]]:
    files: list[AppendedFile] = []
    yield files
    for each in files:
        each.close()


def appended(folder: Folder, opened: list[AppendedFile], *, rotate_bytes: int | None = None) -> AppendedFile:
    file = AppendedFile(folder, "out", rotate_bytes=rotate_bytes, is_synced=True)
    file.open()
    opened.append(file)
    return file


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    file = AppendedFile(Folder("files", tmp_path / "new"), "deep/out", rotate_bytes=None, is_synced=True)
    file.open()
    file.append(b"1\n")
    file.close()

    assert (tmp_path / "new" / "deep" / "out").read_bytes() == b"1\n"


@pytest.mark.parametrize("before", [b"", b"1\n", b"1\n2", b"1", b"1\n" + b"x" * 200_000])
def test_half_a_line_that_a_crash_left_is_cut_off(
    tmp_path: Path, out: Path, opened: list[AppendedFile], before: bytes
) -> None:
    out.write_bytes(before)

    appended(Folder("files", tmp_path), opened).append(b"3\n")

    assert out.read_bytes() == before[: before.rfind(b"\n") + 1] + b"3\n"


def test_a_disk_that_is_full_leaves_the_file_as_it_was(tmp_path: Path, out: Path, opened: list[AppendedFile]) -> None:
    folder = FailingFolder("files", tmp_path)
    file = appended(folder, opened)
    file.append(b"1\n")
    folder.room = 3
    with pytest.raises(StorageFull, match="free some space") as caught:
        file.append(b"12345\n")
    after_the_failure = out.read_bytes()
    file.append(b"12345\n")

    assert caught.value.retryable
    assert after_the_failure == b"1\n"
    assert out.read_bytes() == b"1\n12345\n"


def test_a_write_that_the_system_cuts_short_is_gone_on_with(
    tmp_path: Path, out: Path, opened: list[AppendedFile]
) -> None:
    class Hesitant(Folder):
        def write(self, descriptor: int, data: memoryview) -> int:
            return super().write(descriptor, data[:2])

    appended(Hesitant("files", tmp_path), opened).append(b"12345\n")

    assert out.read_bytes() == b"12345\n"


def test_a_real_limit_of_the_system_is_met_without_half_a_line(tmp_path: Path, out: Path) -> None:
    """The kernel itself cuts the write short and refuses the rest, in a process of its own."""
    script = f"""
import resource, signal
from pathlib import Path
from mstream.errors import StorageFull
from mstream.providers.file.appending import AppendedFile
from mstream.providers.file.folder import Folder
file = AppendedFile(Folder("files", Path({str(tmp_path)!r})), "out", rotate_bytes=None, is_synced=True)
file.open()
file.append(b"1\\n")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
try:
    file.append(b"x" * 100 + b"\\n")
except StorageFull:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    file.append(b"2\\n")
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=25)

    assert out.read_bytes() == b"1\n2\n"


def test_a_second_writer_is_kept_away_until_the_first_has_gone(
    tmp_path: Path, out: Path, opened: list[AppendedFile]
) -> None:
    folder = Folder("files", tmp_path)
    first = appended(folder, opened)
    with pytest.raises(Unreachable, match="somebody else") as caught:
        AppendedFile(folder, "out", rotate_bytes=None, is_synced=True).open()
    first.close()
    appended(folder, opened).append(b"2\n")

    assert caught.value.retryable
    assert out.read_bytes() == b"2\n"


def test_a_file_is_put_aside_before_it_grows_too_large(tmp_path: Path, out: Path, opened: list[AppendedFile]) -> None:
    file = appended(Folder("files", tmp_path), opened, rotate_bytes=8)
    for line in (b"1111\n", b"22\n", b"3333\n", b"4444444444\n", b"5\n"):
        file.append(line)

    files = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    assert files == {
        "out-000001": b"1111\n22\n",
        "out-000002": b"3333\n",
        "out-000003": b"4444444444\n",
        "out": b"5\n",
    }


def test_a_second_writer_is_kept_away_after_a_rotation_too(tmp_path: Path, opened: list[AppendedFile]) -> None:
    folder = Folder("files", tmp_path)
    file = appended(folder, opened, rotate_bytes=1)
    file.append(b"1\n")
    file.append(b"2\n")

    with pytest.raises(Unreachable):
        AppendedFile(folder, "out", rotate_bytes=None, is_synced=True).open()


def test_a_rotation_that_a_crash_interrupted_is_finished(tmp_path: Path, out: Path, opened: list[AppendedFile]) -> None:
    out.write_bytes(b"1\n")
    os.link(out, tmp_path / "out-000001")
    (tmp_path / ".out.new").write_bytes(b"")

    appended(Folder("files", tmp_path), opened, rotate_bytes=4).append(b"2\n")

    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"out-000001": b"1\n", "out": b"2\n"}


def test_after_a_failed_sync_nothing_is_vouched_for_any_more(
    tmp_path: Path, out: Path, opened: list[AppendedFile]
) -> None:
    class Worn(Folder):
        def sync(self, descriptor: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    file = appended(Worn("files", tmp_path), opened)
    file.append(b"1\n")
    for attempt in (file.sync, lambda: file.append(b"2\n"), file.sync):
        with pytest.raises(ServiceError, match="start the job again") as caught:
            attempt()
        assert not caught.value.retryable


@pytest.mark.parametrize("resource", ["../out", "/tmp/out", "link/out"])
def test_nothing_outside_the_folder_is_written(tmp_path: Path, resource: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(tmp_path)

    with pytest.raises(AccessDenied):
        AppendedFile(Folder("files", inside), resource, rotate_bytes=None, is_synced=True)
    assert not (tmp_path / "out").exists()
