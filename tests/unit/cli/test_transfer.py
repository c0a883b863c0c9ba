"""`mstream export` and `import`: what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from mstream.cli import main
from mstream.cli.wording import counted

FILE = """
[system]
{store}
[[services]]
provider = "file"
name = "files"
path = "{path}"
[[connectors]]
name = "copy"
enabled = false
source = {{ service_name = "files", resource = "in.jsonl" }}
sinks = [ {{ service_name = "files", resource = "out.jsonl" }} ]
"""


def written(folder: Path, *, path: str = ".", store: str = 'state = "mstream.db"') -> None:
    folder.mkdir(exist_ok=True)
    (folder / "mstream-config.toml").write_text(FILE.format(store=store, path=path))


@pytest.mark.parametrize("form", ["mstream", "v047"])
def test_where_nothing_is_kept_there_is_nothing_to_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MSTREAM_ENC_KEY", "00" * 32)
    written(tmp_path, store="")

    assert main(["export", "b.json", "--format", form]) == 1

    assert "names no store" in capsys.readouterr().err
    assert not (tmp_path / "b.json").exists()


def test_the_files_service_wins_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, path in {"old": ".", "same": ".", "other": "elsewhere"}.items():
        written(tmp_path / name, path=path)
    monkeypatch.chdir(tmp_path / "old")
    assert main(["apply", "--yes"]) == 0
    assert main(["export", "../b.json"]) == 0
    assert "exported 1 job, 1 service, 0 checkpoints" in capsys.readouterr().err

    monkeypatch.chdir(tmp_path / "same")
    assert main(["import", "../b.json"]) == 0
    assert "imported 0 services, 0 checkpoints, 1 job" in capsys.readouterr().out

    monkeypatch.chdir(tmp_path / "other")
    assert main(["import", "../b.json"]) == 1
    complaint = capsys.readouterr().err
    assert "the file wins at every start: 'files'" in complaint
    assert main(["import", "../b.json", "--overwrite"]) == 0
    assert "imported 0 services, 0 checkpoints, 1 job" in capsys.readouterr().out


def test_one_is_not_many() -> None:
    assert [counted(number, "job") for number in (0, 1, 2)] == ["0 jobs", "1 job", "2 jobs"]
