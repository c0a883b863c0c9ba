"""A new key for the stored services, killed wherever it can be killed."""

from __future__ import annotations

import json
import stat
import traceback
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from structlog.testing import capture_logs

from mstream.control.authority import SoleOwner
from mstream.control.rotation import Rotation
from mstream.errors import Conflict, KeyUnusable, StaleOwner, StoreUnreachable
from mstream.foundation.concurrency import background
from mstream.stores.encryption import Key
from tests.unit.control.vaults import RANDOM, SECRET, Faults, Home, Killed, body, change, filled, service
from tests.virtual import VirtualClock

RAW, OTHER = bytes(range(32)), bytes(range(32, 64))
COUNT = 4


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


async def everything(home: Home) -> dict[str, object]:
    """What a program that has just begun reads."""
    vault = await home.vault()
    definitions, damaged = await vault.store.everything()
    assert damaged == []
    return {each.name: (each.config, each.last_change) for each in definitions}


async def test_after_a_rotation_everything_is_under_a_new_first_key(home: Home) -> None:
    await filled(home, COUNT)
    before, [old] = await everything(home), home.lines()

    done = await (await home.rotation()).rotate()

    new, second = home.lines()
    assert second == old
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o600
    status = await (await home.rotation()).status()
    assert done.count == COUNT
    assert status.under == {Key(bytes.fromhex(new)).id: COUNT}
    assert status.checked == status.current == Key(bytes.fromhex(new)).id
    assert not status.is_rotating
    assert await everything(home) == before


async def test_services_of_v047_are_brought_under_the_new_key_too(home: Home) -> None:
    home.write_key(RAW)
    data = AESGCM(RAW).encrypt(b"n" * 12, json.dumps(body()).encode(), None)
    await home.services.put("db", {"name": "db", "data": list(data), "nonce": list(b"n" * 12)})

    await (await home.rotation()).rotate()
    await (await home.rotation()).retire()

    assert (await everything(home))["db"] == (service(), None)
    assert RAW.hex() not in home.path.read_text()


async def test_retiring_leaves_the_current_key_alone(home: Home) -> None:
    await filled(home, COUNT)
    before, [old] = await everything(home), home.lines()
    await (await home.rotation()).rotate()

    gone = await (await home.rotation()).retire()

    assert gone == (Key(bytes.fromhex(old)).id,)
    assert old not in home.path.read_text()
    assert await everything(home) == before
    assert await (await home.rotation()).retire() == ()


#: The check value, then per rotation each service and the check value once more.
WRITES = COUNT + 1


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, WRITES + 1))
async def test_a_rotation_killed_at_any_write_loses_nothing_and_is_completed(home: Home, at: int, after: bool) -> None:
    await filled(home, COUNT)
    before, [old] = await everything(home), home.lines()
    home.faults = Faults(at=at, after=after)

    with pytest.raises(Killed):
        await (await home.rotation()).rotate()

    home.faults = Faults()
    assert await everything(home) == before
    assert home.lines()[1:] == [old]
    with pytest.raises(Conflict) if (at, after) != (WRITES, True) else nothing():
        await (await home.rotation()).retire()
    assert await everything(home) == before
    lines = home.lines()
    rotation = await home.rotation()
    if (await rotation.status()).is_rotating:
        await rotation.rotate()
    assert home.lines() == lines
    assert not (await rotation.status()).is_rotating
    assert await everything(home) == before


class nothing:  # noqa: N801 - reads as a word where `raises` does
    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass


async def test_every_write_of_a_rotation_was_killed_above(home: Home) -> None:
    await filled(home, COUNT)
    rotation = await home.rotation()
    home.faults.writes = 0

    await rotation.rotate()

    assert home.faults.writes == WRITES


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, WRITES + 1))
async def test_a_rotation_cut_off_from_its_store_goes_on_when_that_is_back(home: Home, at: int, after: bool) -> None:
    vault = await filled(home, COUNT)
    before = await everything(home)
    rotation = Rotation(vault, SoleOwner())
    home.faults.at, home.faults.after, home.faults.error = home.faults.writes + at, after, StoreUnreachable

    with pytest.raises(StoreUnreachable):
        await rotation.rotate()
    if (await rotation.status()).is_rotating:
        await rotation.rotate()

    assert len(home.lines()) == 2
    assert not (await rotation.status()).is_rotating
    assert await everything(home) == before


async def test_a_rotation_killed_after_the_new_line_does_not_add_another(home: Home) -> None:
    await filled(home, COUNT)
    home.write_key(OTHER, bytes.fromhex(home.lines()[0]))

    done = await (await home.rotation()).rotate()

    assert done.count == COUNT
    assert home.lines()[0] == OTHER.hex()
    assert len(home.lines()) == 2


async def test_two_rotations_follow_each_other(home: Home) -> None:
    await filled(home, COUNT)
    before = await everything(home)

    for _ in range(2):
        await (await home.rotation()).rotate()

    assert len(home.lines()) == 3
    assert len(await (await home.rotation()).retire()) == 2
    assert await everything(home) == before


async def test_a_damaged_service_stays_and_does_not_keep_the_others_back(home: Home) -> None:
    vault = await filled(home, COUNT)
    old = vault.keys.ring.current.id
    bad = {"name": "bad", "envelope": {"v": 1, "kid": old, "nonce": b"n" * 12, "ct": b"x" * 40}}
    await home.services.put("bad", bad)

    done = await (await home.rotation()).rotate()

    assert [each.name for each in done.damaged] == ["bad"]
    stored = await home.services.get("bad")
    assert stored is not None
    assert stored.document == bad
    assert not (await (await home.rotation()).status()).is_rotating
    with pytest.raises(Conflict, match="'bad'"):
        await (await home.rotation()).retire()
    assert len(home.lines()) == 2


async def test_a_service_that_is_made_under_the_older_key_meanwhile_is_brought_over_too(home: Home) -> None:
    late = await filled(home, COUNT)
    rotation = await home.rotation()
    await rotation.rotate()
    await late.store.create(service("late"), origin="api", change=change("late"), epoch=0)

    with pytest.raises(Conflict):
        await rotation.retire()
    await rotation.rotate()

    assert len(home.lines()) == 2
    assert await rotation.retire()
    assert "late" in await everything(home)


@pytest.mark.parametrize("origin", ["variable", "command"])
async def test_keys_that_stand_elsewhere_are_rotated_by_hand_and_the_steps_are_told(home: Home, origin: str) -> None:
    def set_keys(*raws: bytes) -> None:
        texts = [each.hex() for each in raws]
        if origin == "variable":
            home.environ["MSTREAM_ENC_KEY"] = ",".join(texts)
        else:
            home.settings["encryption_key_command"] = ["printf", r"%s\n", *texts]

    set_keys(RAW)
    await filled(home, COUNT)
    with pytest.raises(KeyUnusable, match=r"1\. .* 2\. .* 3\. .* 4\. ") as caught:
        await (await home.rotation()).rotate()
    set_keys(OTHER, RAW)

    done = await (await home.rotation()).rotate()

    assert RAW.hex() not in str(caught.value)
    assert done.count == COUNT
    with pytest.raises(KeyUnusable):
        await (await home.rotation()).retire()
    set_keys(OTHER)
    assert len(await everything(home)) == COUNT
    assert not home.path.exists()


class Deposed(SoleOwner):
    """An owner whose lease runs out after some writes."""

    def __init__(self, left: int) -> None:
        self.left = left

    def require(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise StaleOwner("planted")


@pytest.mark.parametrize("left", range(WRITES + 2))
async def test_an_owner_that_is_none_any_more_stops_rotating(home: Home, left: int) -> None:
    vault = await filled(home, COUNT)
    before = await everything(home)
    home.faults.writes = 0

    with pytest.raises(StaleOwner):
        await Rotation(vault, Deposed(left)).rotate()

    assert home.faults.writes <= left
    assert await everything(home) == before


async def test_a_running_owner_completes_what_a_changed_ring_begins(home: Home) -> None:
    vault = await filled(home, COUNT)
    old = bytes.fromhex(home.lines()[0])
    rotation, clock = Rotation(vault, SoleOwner()), VirtualClock()
    home.write_key(RAW, old)
    async with background(rotation.attend(clock=clock, random=RANDOM)):
        await vault.keys.reload()
        for _ in range(100):
            await clock.sleep(0)

    status = await rotation.status()

    assert status.under == {Key(RAW).id: COUNT}
    assert not status.is_rotating


async def test_keys_and_secrets_show_in_no_log_no_error_and_no_status(home: Home) -> None:
    with capture_logs() as logs:
        await filled(home, COUNT)
        rotation = await home.rotation()
        await rotation.rotate()
        shown = [str(await rotation.status()), str((await rotation.status()).as_document()), repr(rotation)]
        await rotation.retire()
        planted = [*home.lines()]
        home.write_key(OTHER)
        try:
            await home.vault()
        except KeyUnusable:
            shown.append(traceback.format_exc())

    assert len(shown) == 4
    text = "\n".join([*map(str, logs), *shown])
    assert [each for each in (*planted, OTHER.hex(), SECRET) if each in text] == []
    assert "back this file up" in text
