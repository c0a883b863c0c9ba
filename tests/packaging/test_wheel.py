"""The wheel holds what it should, and works where nothing else is."""

from __future__ import annotations

import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from tests.packaging.wheelhouse import ROOT, build_wheel, pip_install, succeeded

pytestmark = pytest.mark.slow

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that was empty, with the wheel and what it needs to run."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    succeeded([*pip_install(python), "--require-hashes", "--requirement", str(ROOT / "requirements" / "runtime.txt")])
    succeeded([*pip_install(python), "--no-deps", str(wheel)])
    return folder / "bin"


def test_it_holds_the_package_and_nothing_beside_it(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert {name.partition("/")[0] for name in names} == {"mstream", f"mstream-{VERSION}.dist-info"}
    assert "mstream/py.typed" in names
    assert f"mstream-{VERSION}.dist-info/licenses/LICENSE" in names


def test_it_holds_every_file_of_the_source(wheel: Path) -> None:
    source = ROOT / "src"
    files = {str(each.relative_to(source)) for each in source.rglob("*") if each.is_file()}
    wanted = {each for each in files if "__pycache__" not in each and not each.startswith("mstream.egg-info")}

    assert wanted - set(zipfile.ZipFile(wheel).namelist()) == set()


def test_what_it_needs_is_there_after_the_installation(installed: Path) -> None:
    assert "No broken requirements" in succeeded([str(installed / "python"), "-m", "pip", "check"])


def test_its_command_tells_the_version(installed: Path, tmp_path: Path) -> None:
    assert VERSION in succeeded([str(installed / "mstream"), "--version"], cwd=tmp_path)


def test_it_runs_as_a_module(installed: Path, tmp_path: Path) -> None:
    assert VERSION in succeeded([str(installed / "python"), "-m", "mstream", "--version"], cwd=tmp_path)


def test_every_module_can_be_imported_without_an_extra(installed: Path, tmp_path: Path) -> None:
    """A driver that is missing shows when it is used, never before."""
    probe = (
        "import importlib, pkgutil, mstream\n"
        "names = [each.name for each in pkgutil.iter_modules(mstream.__path__, 'mstream.')]\n"
        "print(*[importlib.import_module(name).__name__ for name in names if not name.endswith('__main__')])\n"
    )

    assert "mstream.providers" in succeeded([str(installed / "python"), "-c", probe], cwd=tmp_path)
