"""Processes are known beyond their ids."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from mstream.foundation.processes import Process, Sighting, end_stopped, sighted, this_process

_TELL = "from mstream.foundation.processes import this_process as t; p = t(); print(p.started, flush=True); input()"


@contextmanager
def child() -> Iterator[tuple[subprocess.Popen[str], Process]]:
    command = [sys.executable, "-c", _TELL]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, replace(this_process(), pid=process.pid, started=process.stdout.readline().strip())
        finally:
            process.kill()


def test_a_process_sees_itself_and_its_children_run() -> None:
    me = this_process()
    with child() as (_, other):
        assert sighted(me, me) is Sighting.RUNNING
        assert sighted(other, me) is Sighting.RUNNING


def test_a_stopped_process_is_told_from_a_running_one() -> None:
    with child() as (process, other):
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)

        assert sighted(other, this_process()) is Sighting.STOPPED


def test_only_a_stopped_process_is_ended() -> None:
    me = this_process()
    with child() as (process, other):
        assert not end_stopped(other, me)
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        assert not end_stopped(replace(other, started="1"), me)
        assert not end_stopped(replace(other, host="else"), me)

        assert end_stopped(other, me)
        assert process.wait() == -signal.SIGKILL
        assert not end_stopped(other, me)


def test_a_process_that_nobody_has_waited_for_is_gone() -> None:
    with child() as (process, other):
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

        assert sighted(other, this_process()) is Sighting.GONE


def test_a_process_that_has_ended_is_gone() -> None:
    with child() as (_, other):
        pass

    assert sighted(other, this_process()) is Sighting.GONE


def test_another_process_with_the_same_id_is_not_taken_for_it() -> None:
    me = this_process()

    assert sighted(replace(me, started="1"), me) is Sighting.GONE


def test_nothing_is_concluded_about_processes_elsewhere() -> None:
    me = this_process()
    for other in (
        replace(me, host="else", pid=1),
        replace(me, boot_id="else", pid=1),
        replace(me, namespace="else", pid=1),
        replace(me, boot_id=""),
    ):
        assert sighted(other, me) is Sighting.ELSEWHERE
    assert sighted(replace(me, boot_id=""), replace(me, boot_id="")) is Sighting.ELSEWHERE
