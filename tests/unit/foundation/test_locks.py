"""A file's lock belongs to one holder and its children, and to nobody once they are gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mstream.foundation.locks import FileLock


def test_one_of_two_holds_it_and_the_other_after_its_release(tmp_path: Path) -> None:
    one, two = FileLock(tmp_path / "a.lock"), FileLock(tmp_path / "a.lock")

    assert (one.acquire(), two.acquire()) == (True, False)
    one.release()

    assert (two.acquire(), one.acquire()) == (True, False)
    two.release()


def test_a_lock_is_known_again_by_its_token(tmp_path: Path) -> None:
    lock, other = FileLock(tmp_path / "a.lock"), FileLock(tmp_path / "b.lock")
    lock.acquire()
    other.acquire()
    first = lock.token
    lock.release()
    lock.acquire()

    assert lock.token == first
    assert other.token not in {"", first}
    lock.release()
    other.release()
    assert lock.token == ""


def test_another_file_at_the_same_path_is_another_lock(tmp_path: Path) -> None:
    one, two = FileLock(tmp_path / "a.lock"), FileLock(tmp_path / "a.lock")
    one.acquire()
    (tmp_path / "a.lock").unlink()

    assert two.acquire()
    assert two.token != one.token
    one.release()
    two.release()


def test_a_child_that_inherits_it_holds_it_until_it_ends(tmp_path: Path) -> None:
    lock, other = FileLock(tmp_path / "a.lock"), FileLock(tmp_path / "a.lock")
    lock.acquire()
    assert lock.fd is not None
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock.fd]) as child:
        lock.release()
        assert not other.acquire()
        child.kill()

    assert other.acquire()
    other.release()
