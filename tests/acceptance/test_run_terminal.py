"""What a person sees at a terminal, and what an embedder gets."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mstream
from mstream.errors import ConfigError
from tests.acceptance.programs import PATIENCE, append, numbers_in, written


def on_a_terminal(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, and what a terminal shows of standard error."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "mstream", *arguments],
        cwd=folder,
        env={**os.environ, "MSTREAM_API_PORT": "0", "TERM": "xterm", "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    shown, ends = b"", time.monotonic() + PATIENCE
    try:
        while time.monotonic() < ends and select.select([ours], [], [], PATIENCE)[0]:
            try:
                piece = os.read(ours, 65_536)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        output, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return process.returncode, output, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())


def test_a_terminal_shows_a_status_line_per_job(tmp_path: Path) -> None:
    written(tmp_path)
    append(tmp_path, range(1234))

    code, output, shown = on_a_terminal(tmp_path, "run", "--until-idle", "1.5")

    assert (code, output) == (0, "")
    assert re.search(r"copy\s+running\s+1,234 records\s+[\d,]+/s\s+lag .*\s+0 errors", shown)
    assert "program_ended" in shown


async def test_an_embedder_runs_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSTREAM_API_PORT", "0")
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, runtime="inline")
    append(tmp_path, range(50))

    code = await mstream.run(str(path), until_idle=0.5)

    assert code == 0
    assert numbers_in(tmp_path / "out.jsonl") == list(range(50))


async def test_an_embedder_hears_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('[system]\nstat = "x"\n')

    with pytest.raises(ConfigError, match=r"system\.stat"):
        await mstream.run(str(path))


def test_a_name_that_is_not_there_is_told_as_usual() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = mstream.nothing
