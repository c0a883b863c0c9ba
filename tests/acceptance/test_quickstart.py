"""The quick start, as somebody meets it who has just cloned the project into an empty folder."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.packaging.wheelhouse import ROOT, WHEELHOUSE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone in an empty folder, with the wheels that this checkout has fetched."""
    if shutil.which("make") is None or not (ROOT / ".git").exists():
        pytest.skip("needs make, and a git checkout to clone")
    wheels = list(WHEELHOUSE.glob("*.whl"))
    if not wheels:
        pytest.skip("no wheelhouse to install from; run: make setup")
    folder = tmp_path_factory.mktemp("fresh") / "mstream"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    (folder / ".wheelhouse").mkdir()
    for each in wheels:
        shutil.copy(each, folder / ".wheelhouse")
    return folder


def make_run(clone: Path, seconds: int) -> subprocess.Popen[str]:
    """`make run`, where no registry can be reached and the usual port may be taken."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "MAKE", "MFLAGS"))}
    offline = {"PIP_INDEX_URL": "http://127.0.0.1:1/", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    return subprocess.Popen(
        ["make", "run", f"PYTHON={sys.executable}", f"ARGS=--seconds {seconds}"],
        cwd=clone,
        env=kept | offline | {"MSTREAM_API_PORT": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finished(process: subprocess.Popen[str]) -> str:
    """What it printed; it ended well."""
    try:
        output, _ = process.communicate(timeout=280)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, output
    return output


def orders(clone: Path) -> list[dict[str, object]]:
    """What the generator has appended, without the test orders."""
    lines = (clone / "examples/quickstart/out/shop/orders.jsonl").read_text().splitlines()
    return [each for each in map(json.loads, lines) if not each.get("test")]


def masked(clone: Path) -> list[dict[str, object]]:
    """What stands in the second file."""
    return [
        json.loads(each) for each in (clone / "examples/quickstart/out/masked/orders.jsonl").read_text().splitlines()
    ]


def rows(clone: Path) -> list[tuple[object, object]]:
    """Number and e-mail of each order in the table."""
    with contextlib.closing(sqlite3.connect(clone / "examples/quickstart/out/warehouse.db")) as database:
        return database.execute("SELECT order_id, email FROM orders ORDER BY rowid").fetchall()


def check(clone: Path) -> int:
    """Both sinks hold every order once, in order, without an address; how many that is."""
    expected = [each["order_id"] for each in orders(clone)]
    assert [number for number, _ in rows(clone)] == expected
    assert [each["order_id"] for each in masked(clone)] == expected
    addresses = {str(each["email"]) for each in orders(clone)}
    assert not addresses & {str(email) for _, email in rows(clone)}
    assert not addresses & {str(each["email"]) for each in masked(clone)}
    return len(expected)


def test_the_quick_start_runs_from_a_fresh_clone_and_goes_on_where_it_stopped(clone: Path) -> None:
    output = finished(make_run(clone, seconds=3))

    first = check(clone)
    assert first > 1000
    assert "Ctrl-C" in output

    interrupted = make_run(clone, seconds=200)
    deadline = time.monotonic() + 120
    while len(rows(clone)) <= first and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(interrupted.pid, signal.SIGINT)
    interrupted.communicate(timeout=60)
    assert len(rows(clone)) > first

    finished(make_run(clone, seconds=3))
    assert check(clone) > first
