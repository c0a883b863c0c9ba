"""Where on the disk a definition from the API may lead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mstream.config.definition import definition_of_request
from mstream.config.system import System
from mstream.domain.service import ServiceConfig
from mstream.errors import ConfigError
from mstream.providers import CATALOG


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with scripts in it and a link that leads out of it."""
    home = tmp_path / "home"
    (home / "scripts" / "deep").mkdir(parents=True)
    (home / "data").mkdir()
    (home / "out").symlink_to(tmp_path)
    (home / "data" / "in").symlink_to(home / "scripts")
    monkeypatch.chdir(home)
    return home


def folder(path: object) -> dict[str, Any]:
    return {"provider": "file", "name": "new", "path": str(path)}


def database(url: str) -> dict[str, Any]:
    return {"provider": "sql", "name": "new", "url": url}


def asked(body: dict[str, Any], **api: Any) -> ServiceConfig:
    system = System.model_validate({"api": api})
    return definition_of_request(body, system, CATALOG, {"the folder of scripts of service 'u'": "scripts"})


@pytest.mark.parametrize(
    "body",
    [
        folder("/etc"),
        folder("/"),
        folder(".."),
        folder("../home2"),
        folder("data/../../x"),
        folder("out"),
        folder("out/x"),
        database("sqlite:////etc/x.db"),
        database("sqlite:///../x.db"),
        database("sqlite:///%2Fetc%2Fx.db"),
        database("sqlite:///%2E%2E/x.db"),
        database("sqlite:///file:../../x.db?uri=true"),
        database("sqlite:///file:data/x.db?uri=true"),
        database("sqlite+pysqlite:////etc/x.db"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("home")
def test_places_outside_of_the_working_directory_are_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"(path|url): it lies outside .* \[system.api\] allowed_paths"):
        asked(body)


@pytest.mark.parametrize(
    "body",
    [
        folder("scripts"),
        folder("scripts/deep"),
        folder("scripts/new"),
        folder("."),
        folder("data/in"),
        database("sqlite:///scripts/x.py"),
        database("sqlite:///data/in/x.py"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("home")
def test_nobody_writes_where_scripts_are(body: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"(path|url): the folder of scripts of service 'u' is in the same place"):
        asked(body)


@pytest.mark.parametrize(
    "body",
    [
        folder("data"),
        folder("./data/new"),
        folder("scripts2"),
        database("sqlite:///x.db"),
        database("sqlite://"),
        database("sqlite:///data/x.db?timeout=3"),
        database("postgresql://u:p@h/etc"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("home")
def test_the_working_directory_is_open(body: dict[str, Any]) -> None:
    assert asked(body).name == "new"


def test_the_file_says_which_folders_are_open(home: Path) -> None:
    beside = home.parent / "beside"

    assert asked(folder(beside / "x"), allowed_paths=["data", str(beside)]).name == "new"
    assert asked(folder(home / "data"), allowed_paths=["data", str(beside)]).name == "new"
    with pytest.raises(ConfigError, match="allowed_paths"):
        asked(folder("other"), allowed_paths=["data", str(beside)])
    with pytest.raises(ConfigError, match="allowed_paths"):
        asked(folder("data"), allowed_paths=[])


@pytest.mark.usefixtures("home")
def test_a_variable_that_the_file_allows_may_lead_anywhere() -> None:
    assert asked(folder("env:DATA"), env_allow=["DATA"]).name == "new"
