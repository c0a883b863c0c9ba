"""The commands about the configuration file: their answers, their streams, their exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mstream import __version__
from mstream.cli import main
from mstream.config.file import load
from mstream.providers import CATALOG
from tests.unit.config.loading import SERVICES, VALID

BROKEN = SERVICES + '[[connectors]]\nname = "a"\nsource = { service_name = "gone", resource = "x" }\nsinks = []\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder: Path, text: str, name: str = "mstream-config.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "arguments", [["check"], ["check", "mstream-config.toml"], ["check", "--config", "mstream-config.toml"]]
)
def test_a_valid_file_is_fine_however_it_is_named(
    folder: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    written(folder, VALID)

    assert main(arguments) == 0
    assert "is valid" in capsys.readouterr().out


def test_warnings_leave_a_file_valid(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(folder, VALID.replace("[system]", "[system]\ngenerate_encryption_key = true"))

    assert main(["check"]) == 0
    assert "warning[legacy_key] system.generate_encryption_key" in capsys.readouterr().out


def test_an_invalid_file_ends_with_findings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(folder, BROKEN)

    assert main(["check"]) == 3
    shown = capsys.readouterr()
    assert "mstream-config.toml:18: error[unknown_reference] connectors[0].source.service_name" in shown.out
    assert "\x1b" not in shown.out
    assert shown.err == ""


def test_findings_as_json_are_the_whole_answer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(folder, BROKEN)

    assert main(["check", "--json"]) == 3
    answer = json.loads(capsys.readouterr().out)
    assert answer["valid"] is False
    errors = [each for each in answer["problems"] if each["severity"] == "error"]
    assert [(each["line"], each["code"]) for each in errors] == [(18, "unknown_reference"), (19, "no_sinks")]
    assert set(errors[0]) == {"file", "line", "path", "severity", "code", "message", "suggestion"}


def test_a_valid_file_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(folder, VALID)

    assert main(["check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"valid": True, "problems": []}


def test_a_file_that_is_not_there_is_a_finding(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "nowhere.toml"]) == 3
    assert "unreadable" in capsys.readouterr().out


def test_two_files_are_a_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "a.toml", "--config", "b.toml"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "name one" in shown.err


@pytest.mark.parametrize("arguments", [["chekk"], ["check", "--jsn"]])
def test_what_is_no_command_is_a_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().out == ""


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mstream {__version__}\n"


def test_the_schema_knows_every_table_and_provider(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)

    assert set(schema["properties"]) == {"system", "services", "connectors"}
    assert set(schema["properties"]["services"]["items"]["discriminator"]["mapping"]) == {each.name for each in CATALOG}
    assert schema["additionalProperties"] is False


def test_a_first_file_is_written_and_valid(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 0
    assert capsys.readouterr().out == ""

    loaded = load(folder / "mstream-config.toml", CATALOG, {})
    assert loaded.config is not None
    assert loaded.problems == []
    assert {each.provider for each in loaded.config.services} == {"file", "sql"}


def test_a_first_file_goes_where_it_is_wanted(folder: Path) -> None:
    assert main(["init", "other.toml"]) == 0
    assert main(["check", "other.toml"]) == 0


def test_a_file_that_is_there_is_never_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(folder, "# mine\n")

    assert main(["init"]) == 2
    assert path.read_text(encoding="utf-8") == "# mine\n"
    assert "there already" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "nowhere/first.toml"]) == 1
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--config", "mstream-config.toml"], ["run"]])
def test_without_a_command_the_file_is_run(
    folder: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    written(folder, BROKEN)

    assert main(arguments) == 3
    assert capsys.readouterr().out == ""


def test_commented_parts_of_the_first_file_are_valid_too(folder: Path) -> None:
    assert main(["init"]) == 0
    text = (folder / "mstream-config.toml").read_text(encoding="utf-8")
    for line in text.splitlines():
        plain = line.strip().removeprefix("# ")
        if line.strip().startswith("#") and plain.startswith(
            ("[[", "provider =", "name =", "script_path =", "engine =", "middlewares =", "{ service_name")
        ):
            text = text.replace(line, plain)
    loaded = load(written(folder, text), CATALOG, {})

    assert loaded.config is not None, loaded.problems
    assert loaded.config.connectors[0].middlewares
    assert len(loaded.config.services) == 4
