"""One command sets everything up; without a network from the second time on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.wheelhouse import ROOT, WHEELHOUSE

pytestmark = pytest.mark.slow


def make(clone: Path, target: str) -> subprocess.CompletedProcess[str]:
    """Call make where no registry can be reached."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", target, f"PYTHON={sys.executable}"],
        cwd=clone,
        env={**kept, "PIP_INDEX_URL": "http://127.0.0.1:1/", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone in an empty folder."""
    if shutil.which("make") is None or not (ROOT / ".git").exists():
        pytest.skip("needs make, and a git checkout to clone")
    folder = tmp_path_factory.mktemp("fresh") / "mstream"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def supplied(clone: Path) -> Path:
    """The clone, with the wheels that this checkout has."""
    wheels = list(WHEELHOUSE.glob("*.whl"))
    if not wheels:
        pytest.skip("no wheelhouse to install from; run: make setup")
    folder = clone / ".wheelhouse"
    folder.mkdir(exist_ok=True)
    for each in wheels:
        shutil.copy(each, folder)
    return clone


def test_a_registry_out_of_reach_is_named_with_advice(tmp_path: Path, clone: Path) -> None:
    empty = tmp_path / "empty"
    shutil.copytree(clone, empty, ignore=shutil.ignore_patterns(".venv", ".wheelhouse"))

    result = make(empty, "runtime")

    assert result.returncode != 0
    assert "setup: the wheels could not be fetched" in result.stderr


def test_a_fresh_clone_is_set_up_from_a_wheelhouse(supplied: Path) -> None:
    result = make(supplied, "runtime")

    assert result.returncode == 0, result.stderr
    probe = [str(supplied / ".venv" / "bin" / "python"), "-c", "import mstream; print(mstream.__file__)"]
    found = subprocess.run(probe, cwd=supplied.parent, capture_output=True, text=True, check=True).stdout.strip()
    assert found == str(supplied / "src" / "mstream" / "__init__.py")


def test_the_second_call_does_nothing(supplied: Path) -> None:
    make(supplied, "runtime")
    before = {each: each.stat().st_mtime_ns for each in (supplied / ".venv").glob("lib/*/site-packages/*")}

    result = make(supplied, "runtime")

    assert (result.returncode, result.stderr) == (0, "")
    assert {each: each.stat().st_mtime_ns for each in (supplied / ".venv").glob("lib/*/site-packages/*")} == before


def test_help_lists_every_target(clone: Path) -> None:
    wanted = ["run", "test", "check", "lint", "types", "layers", "fmt", "bench", "chaos", "docs", "setup", "lock"]
    text = make(clone, "help").stdout

    assert [each for each in wanted if f"make {each} " not in text] == []
