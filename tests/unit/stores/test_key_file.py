"""The key file: what is read, what is refused, and how it comes to be."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mstream.errors import KeyUnusable
from mstream.stores import key_file
from mstream.stores.encryption import Key, KeyRing

RAW = bytes(range(200, 232))
HEX = RAW.hex()

raws = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=4, unique=True)


@pytest.fixture
def _open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def entries(path: Path) -> list[str]:
    return [each.name for each in path.iterdir()]


def private(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    path.chmod(0o600)
    return path


@given(raws=raws, upper=st.booleans(), end=st.sampled_from(["\n", "\r\n", "\n\n", "  \n"]))
def test_lines_of_hexadecimal_digits_are_a_ring(raws: list[bytes], upper: bool, end: str) -> None:
    lines = [each.hex().upper() if upper else each.hex() for each in raws]

    ring = key_file.ring_of(end.join(lines).encode(), where="it")

    assert ring.keys == tuple(Key(each) for each in raws)
    assert ring.current == Key(raws[0])


@given(raws=raws)
def test_a_variable_holds_keys_separated_by_commas(raws: list[bytes]) -> None:
    assert key_file.ring_of_text(", ".join(each.hex() for each in raws), where="it").keys == tuple(map(Key, raws))


@given(raw=st.binary(min_size=32, max_size=32))
def test_exactly_thirty_two_bytes_are_a_key_unless_they_are_half_of_one(raw: bytes) -> None:
    if raw.isalnum() and all(chr(each) in "0123456789abcdefABCDEF" for each in raw):
        return
    assert key_file.ring_of(raw, where="it").keys == (Key(raw),)


def test_half_a_hexadecimal_key_is_not_taken_for_a_raw_one() -> None:
    with pytest.raises(KeyUnusable, match="half a key"):
        key_file.ring_of(HEX[:32].encode(), where="it")


@given(data=st.binary(max_size=100))
def test_whatever_a_file_holds_it_is_a_ring_or_refused(data: bytes) -> None:
    try:
        ring = key_file.ring_of(data, where="it")
    except KeyUnusable:
        return
    assert all(len(each.text()) == 64 for each in ring.keys)


@pytest.mark.parametrize("data", [b"", b"\n \n", b"zz" * 32, HEX[:-1].encode(), f"{HEX}\n{HEX[:-1]}g".encode()])
def test_what_is_no_key_is_refused_without_being_shown(data: bytes) -> None:
    with pytest.raises(KeyUnusable, match="the key file 'k'") as caught:
        key_file.ring_of(data, where="the key file 'k'")

    text = "".join(traceback.format_exception(caught.value))
    assert [each for each in (HEX[:10], "zzzz") if each in text] == []


@pytest.mark.parametrize("text", ["", "  ", ",", f"{HEX},", f"{HEX};{HEX}"])
def test_a_variable_that_holds_no_key_is_refused(text: str) -> None:
    with pytest.raises(KeyUnusable, match="MSTREAM_ENC_KEY") as caught:
        key_file.ring_of_text(text, where="MSTREAM_ENC_KEY")

    assert HEX[:10] not in str(caught.value)


def test_a_key_that_stands_twice_counts_once() -> None:
    assert len(key_file.ring_of(f"{HEX}\n{HEX.upper()}\n".encode(), where="it").keys) == 1


def test_without_a_file_there_is_no_ring(tmp_path: Path) -> None:
    assert key_file.read(tmp_path / "missing") is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o601, 0o610])
def test_a_file_that_others_can_use_is_refused_with_the_command_that_helps(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path / "k", HEX.encode())
    path.chmod(mode)

    with pytest.raises(KeyUnusable, match="chmod 600"):
        key_file.read(path)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_file_is_read(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path / "k", f"{HEX}\n".encode())
    path.chmod(mode)

    ring = key_file.read(path)

    assert ring is not None
    assert ring.keys == (Key(RAW),)


def test_a_directory_is_no_key_file(tmp_path: Path) -> None:
    with pytest.raises(KeyUnusable):
        key_file.read(tmp_path)


def test_a_pipe_is_no_key_file_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "k", 0o600)

    with pytest.raises(KeyUnusable, match="is no file"):
        key_file.read(tmp_path / "k")


@pytest.mark.usefixtures("_open_umask")
def test_a_new_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    made = key_file.create(tmp_path / "k")

    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    assert key_file.read(tmp_path / "k").keys == made.keys  # type: ignore[union-attr]  # it was just made
    assert entries(tmp_path) == ["k"]


#: Prints the mode of every file right after it was opened for writing, before a byte is in it.
WATCHED = """
import os, stat, sys
from pathlib import Path
from mstream.stores import key_file
opened = os.open
def watched(path, flags, mode=0o777, **more):
    descriptor = opened(path, flags, mode, **more)
    if flags & os.O_CREAT:
        print(oct(stat.S_IMODE(os.fstat(descriptor).st_mode)), bool(flags & os.O_EXCL))
    return descriptor
os.open = watched
os.umask(0)
path = Path(sys.argv[1])
ring = key_file.create(path)
key_file.replace(path, ring.keys)
"""


def test_a_key_file_is_private_from_the_moment_of_its_creation(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(tmp_path / "k")], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines() == ["0o600 True", "0o600 True"]


def test_a_file_that_is_there_is_never_made_anew(tmp_path: Path) -> None:
    path = private(tmp_path / "k", HEX.encode())

    with pytest.raises(KeyUnusable, match="stays as it is"):
        key_file.create(path)

    assert path.read_bytes() == HEX.encode()


def test_where_no_file_can_be_made_the_reason_is_told(tmp_path: Path) -> None:
    with pytest.raises(KeyUnusable, match="No such file or directory"):
        key_file.create(tmp_path / "missing" / "k")


@pytest.mark.usefixtures("_open_umask")
def test_a_replaced_file_is_private_and_holds_every_key_in_order(tmp_path: Path) -> None:
    path = private(tmp_path / "k", RAW)
    keys = [Key.new(), Key(RAW)]

    key_file.replace(path, keys)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == f"{keys[0].text()}\n{HEX}\n"
    assert entries(tmp_path) == ["k"]


def test_a_link_to_the_key_file_stays_one(tmp_path: Path) -> None:
    real = private(tmp_path / "real", HEX.encode())
    (tmp_path / "k").symlink_to(real)

    key_file.replace(tmp_path / "k", [Key.new(), Key(RAW)])

    assert (tmp_path / "k").is_symlink()
    assert len(real.read_text().splitlines()) == 2


#: Dies at the n-th call into the system that concerns a file of the folder.
KILLED = """
import os, signal, sys
from pathlib import Path
from mstream.stores import key_file
from mstream.stores.encryption import Key
path, left = Path(sys.argv[1]), int(sys.argv[2])
ring = key_file.read(path)
calls = 0
def watch(event, arguments):
    global calls
    if event in {"open", "os.remove", "os.rename", "os.link"} and any(str(path.parent) in str(a) for a in arguments):
        calls += 1
        if calls == left:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
if ring is None:
    key_file.create(path)
else:
    key_file.replace(path, [Key(bytes(range(32))), *ring.keys])
print("done")
"""


@pytest.mark.slow
@pytest.mark.parametrize("is_there", [True, False])
def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new_one(tmp_path: Path, is_there: bool) -> None:
    path = tmp_path / "k"
    for left in range(1, 20):
        path.unlink(missing_ok=True)
        if is_there:
            private(path, f"{HEX}\n".encode())
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(KILLED), str(path), str(left)],
            capture_output=True,
            text=True,
            check=False,
        )
        ring = key_file.read(path)
        if is_there:
            assert ring is not None
            assert ring.keys[-1] == Key(RAW)
        if "done" in done.stdout:
            assert left > 3
            assert entries(tmp_path) == ["k"]
            return
    pytest.fail("it was never done")


def test_an_error_shows_nothing_of_the_keys(tmp_path: Path) -> None:
    ring = KeyRing([Key(RAW)])
    try:
        key_file.replace(tmp_path / "missing" / "k", ring.keys)
    except KeyUnusable:
        assert HEX[:10] not in traceback.format_exc()
    else:
        pytest.fail("it was written")
