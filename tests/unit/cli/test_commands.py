"""Commands are found by their names, and bring in no more than they need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mstream.cli import _MODULES, main
from tests.unit.config.loading import VALID


@pytest.mark.parametrize("command", _MODULES)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"mstream {command}" in capsys.readouterr().out


def test_all_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0

    shown = capsys.readouterr().out
    assert all(command in shown for command in _MODULES)


def test_a_misspelt_command_is_told_with_the_one_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chekk"]) == 2
    assert "'check'" in capsys.readouterr().err


def test_checking_a_file_does_not_bring_in_the_server(tmp_path: Path) -> None:
    (tmp_path / "mstream-config.toml").write_text(VALID)
    program = (
        "import sys\n"
        "from mstream.cli import main\n"
        "assert main(['check']) == 0\n"
        "print(sorted({'uvicorn', 'starlette', 'sqlalchemy', 'mstream.bootstrap'} & set(sys.modules)))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30
    )

    assert done.stdout.splitlines()[-1] == "[]"
