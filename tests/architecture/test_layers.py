"""Every contract about imports is kept, and each one notices what it is there for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.architecture.source import PACKAGE, ROOT

#: Contract -> the files that break it, and it alone.
VIOLATIONS: Mapping[str, Mapping[str, str]] = {
    "Imports go downwards": {"engine/planted.py": "import mstream.stores"},
    "No provider knows another": {
        "providers/planted_one/__init__.py": "from mstream.providers import planted_two",
        "providers/planted_two/__init__.py": "",
    },
    "Handlers speak to control alone": {"api/planted.py": "import mstream.stores"},
    "Drivers stay with their providers": {"control/planted.py": "import sqlalchemy"},
    "What decides does no I/O": {"engine/settlement.py": "import asyncio"},
    "No cycle anywhere": {
        "domain/planted_one.py": "import mstream.domain.planted_two",
        "domain/planted_two.py": "import mstream.domain.planted_one",
    },
}


def broken_contracts(tree: Path) -> set[str]:
    """The contracts that do not hold in a tree."""
    linter = Path(sys.executable).with_name("lint-imports")
    command = [str(linter), "--no-logo", "--no-cache"]
    result = subprocess.run(
        command,
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree / "src"), "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    verdicts = dict(re.findall(r"^(.+) (KEPT|BROKEN)\b.*$", result.stdout, flags=re.MULTILINE))
    assert len(verdicts) == len(VIOLATIONS), f"the contracts were not judged:\n{result.stdout}{result.stderr}"
    return {name for name, verdict in verdicts.items() if verdict == "BROKEN"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy that may be spoilt."""
    shutil.copytree(PACKAGE, tmp_path / "src" / "mstream", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def plant(tree: Path, files: Mapping[str, str]) -> None:
    for name, line in files.items():
        path = tree / "src" / "mstream" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n")


def test_every_contract_is_kept() -> None:
    assert broken_contracts(ROOT) == set()


@pytest.mark.parametrize("contract", VIOLATIONS)
def test_a_violation_breaks_its_contract_alone(tree: Path, contract: str) -> None:
    plant(tree, VIOLATIONS[contract])

    assert broken_contracts(tree) == {contract}


def test_an_import_upwards_is_noticed(tree: Path) -> None:
    plant(tree, {"engine/planted.py": "import mstream.control"})

    assert "Imports go downwards" in broken_contracts(tree)


def test_a_package_without_a_place_is_noticed(tree: Path) -> None:
    plant(tree, {"planted/__init__.py": ""})

    assert broken_contracts(tree) == {"Imports go downwards"}


def test_a_provider_may_use_its_driver_and_encodings_may_use_bson(tree: Path) -> None:
    plant(tree, {"providers/planted/service.py": "import pymongo", "providers/planted/__init__.py": ""})
    plant(tree, {"encodings/planted.py": "import bson"})

    assert broken_contracts(tree) == set()
