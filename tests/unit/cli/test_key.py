"""The commands about keys: answers, streams, exit codes, and never a key among them."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mstream.bootstrap.keys import KeyRoom
from mstream.cli import main
from mstream.config.definition import stored_definitions
from mstream.config.file import load
from mstream.control.authority import SoleOwner
from mstream.control.vault import Vault, open_vault
from mstream.domain.lease import Identity, Tenure
from mstream.foundation.clock import SystemClock
from mstream.foundation.processes import this_process
from mstream.ports.documents import ABSENT
from mstream.providers import CATALOG
from mstream.stores.encryption import Key
from mstream.stores.leases import LeaseStore, new_revision
from tests.unit.control.vaults import SECRET, change, service

STATE = '[system]\nstate = "./m.db"\n'
BACKUP = "back this file up: losing it loses the stored services"
RAW = bytes(range(32))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in a folder of its own, without keys in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MSTREAM_ENC_KEY", raising=False)
    (tmp_path / "mstream-config.toml").write_text(STATE)
    return tmp_path


def room() -> KeyRoom:
    loaded = load("mstream-config.toml", CATALOG, {})
    assert loaded.config is not None
    return KeyRoom(loaded.config, CATALOG, os.environ)


def with_vault(work: Callable[[Vault], Awaitable[Any]]) -> Any:
    """Do it as the program would, in a loop that is gone afterwards."""

    async def done() -> Any:
        async with room().shelf() as shelf:
            vault = await open_vault(room().source, shelf, stored_definitions(CATALOG), SoleOwner())
            return await work(vault)

    return asyncio.run(done())


def fill(count: int = 3) -> None:
    async def create(vault: Vault) -> None:
        for number in range(count):
            some = service(f"s{number}")
            await vault.store.create(some, origin="api", change=change(f"r{number}"), epoch=0)

    with_vault(create)


def stored() -> list[Any]:
    async def read(vault: Vault) -> list[Any]:
        return [each.config for each in (await vault.store.everything())[0]]

    found: list[Any] = with_vault(read)
    return found


def keys(folder: Path) -> list[str]:
    return (folder / "mstream.key").read_text().splitlines()


def answered(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What the command answers as JSON."""
    capsys.readouterr()
    main(["key", *arguments, "--json"])
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    return shown


def test_a_key_is_made_private_and_its_backup_is_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", "generate"]) == 0

    shown = capsys.readouterr()
    assert BACKUP in shown.out
    assert stat.S_IMODE((folder / "mstream.key").stat().st_mode) == 0o600
    assert keys(folder)[0] not in shown.out + shown.err


@pytest.mark.parametrize("reason", ["a file is there", "the store was used", "the variable is set"])
def test_a_key_is_not_made_where_one_is_in_use(
    folder: Path, reason: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "mstream.key"
    match reason:
        case "a file is there":
            main(["key", "generate"])
        case "the store was used":
            fill(1)
            path.rename(folder / "backup")
        case _:
            monkeypatch.setenv("MSTREAM_ENC_KEY", RAW.hex())
    before = path.read_bytes() if path.exists() else None

    assert main(["key", "generate"]) == 1

    assert "error[key_unusable]" in capsys.readouterr().err
    assert (path.read_bytes() if path.exists() else None) == before


def test_ids_are_shown_without_opening_a_store(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["key", "generate"])

    assert main(["key", "show-id"]) == 0

    assert "current" in capsys.readouterr().out
    assert not (folder / "m.db").exists() or not stored()


def test_a_ring_that_opens_everything_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    fill()

    assert main(["key", "check"]) == 0

    assert "3 services" in capsys.readouterr().out
    status = answered(capsys, "check")
    assert status["services"] == {status["current"]: 3}
    assert (status["rotating"], status["damaged"]) == (False, [])


def test_a_wrong_key_ends_every_command_and_changes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill()
    right = (folder / "mstream.key").read_text()
    (folder / "mstream.key").write_text(RAW.hex())

    for command in ("check", "rotate", "retire"):
        assert main(["key", command]) == 1
        assert "wrong key" in capsys.readouterr().err

    assert (folder / "mstream.key").read_text() == RAW.hex()
    (folder / "mstream.key").write_text(right)
    assert len(stored()) == 3


def test_a_key_is_rotated_and_the_older_one_retired(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill()
    before, [old] = stored(), keys(folder)

    assert main(["key", "rotate"]) == 0
    assert BACKUP in capsys.readouterr().out
    assert keys(folder)[1:] == [old]
    assert stored() == before
    assert main(["key", "retire"]) == 0

    assert BACKUP in capsys.readouterr().out
    assert len(keys(folder)) == 1
    assert old not in keys(folder)
    assert stored() == before
    assert main(["key", "check"]) == 0


def test_a_rotation_is_gone_on_from_after_the_new_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill()
    path = folder / "mstream.key"
    path.write_text(f"{RAW.hex()}\n{path.read_text()}")
    assert main(["key", "check"]) == 3
    assert main(["key", "retire"]) == 1

    assert answered(capsys, "rotate")["services"] == {Key(RAW).id: 3}

    assert keys(folder)[0] == RAW.hex()
    assert main(["key", "check"]) == 0


def test_a_damaged_service_is_a_finding(capsys: pytest.CaptureFixture[str]) -> None:
    fill()

    async def damage(_: Vault) -> None:
        async with room().shelf() as shelf:
            await shelf.services.put("bad", {"name": "bad", "envelope": {}})

    with_vault(damage)

    assert main(["key", "check"]) == 3
    assert "'bad'" in capsys.readouterr().out
    assert main(["key", "rotate"]) == 3


def test_a_store_that_somebody_owns_is_not_touched(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill()
    before = keys(folder)

    async def own() -> None:
        async with room().shelf() as shelf:
            identity = Identity(instance="other", process=this_process())
            tenure = Tenure(identity=identity, epoch=7, lease_sec=600)
            await LeaseStore(shelf.system, SystemClock()).write(tenure, expect=ABSENT, revision=new_revision())

    asyncio.run(own())

    assert main(["key", "rotate"]) == 1
    assert "error[store_owned]" in capsys.readouterr().err
    assert keys(folder) == before


def test_without_a_store_for_services_there_is_nothing_to_rotate(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "mstream-config.toml").write_text("")

    assert main(["key", "rotate"]) == 1
    assert "no store for services" in capsys.readouterr().err
    assert main(["key", "generate"]) == 0


def test_keys_of_the_environment_are_rotated_by_hand(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MSTREAM_ENC_KEY", RAW.hex())
    fill()

    assert main(["key", "rotate"]) == 1

    shown = capsys.readouterr()
    assert "openssl rand -hex 32" in shown.err
    assert RAW.hex() not in shown.out + shown.err


def test_a_file_that_is_not_valid_ends_with_findings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mstream-config.toml").write_text("[system]\nencryption_key_command = []\n")

    assert main(["key", "check"]) == 3
    assert "encryption_key_command" in capsys.readouterr().err


def test_neither_keys_nor_secrets_are_ever_printed_or_stored_in_clear(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill()
    planted = keys(folder)
    for command in ("show-id", "check", "rotate", "check", "retire", "generate"):
        for more in ([], ["--json"]):
            main(["key", command, *more])
            planted += keys(folder)

    shown = capsys.readouterr()
    raw = b"".join(each.read_bytes() for each in folder.iterdir() if each.name.startswith("m.db"))
    assert [each for each in {*planted, SECRET} if each in shown.out + shown.err] == []
    assert [each for each in {*planted, SECRET} if each.encode() in raw] == []
