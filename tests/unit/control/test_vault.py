"""Opening stored services: one key is ever made, and a wrong one writes nothing."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mstream.control.authority import SoleOwner
from mstream.control.vault import look_into, open_vault
from mstream.errors import KeyUnusable, StaleOwner
from mstream.stores.encryption import Key
from tests.unit.control.vaults import PARSE, Faults, Home, Killed, body, change, filled, service

RAW, OTHER = bytes(range(32)), bytes(range(32, 64))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


async def put_legacy(home: Home, name: str, raw: bytes, *, nonce: bytes = b"n" * 12) -> None:
    data = AESGCM(raw).encrypt(b"n" * 12, json.dumps(body(name)).encode(), None)
    document = {"name": name, "data": list(data), "nonce": list(nonce)}
    await home.documents.collection("services").put(name, document)


async def test_the_first_start_makes_a_private_key_and_says_which_it_is(home: Home) -> None:
    vault = await home.vault()

    assert stat.S_IMODE(home.path.stat().st_mode) == 0o600
    assert home.lines() == [vault.keys.ring.current.text()]
    checked = await vault.check.verified(vault.keys.ring)
    assert checked is not None
    assert checked.key_id == vault.keys.ring.current.id


async def test_the_next_start_finds_the_same_key_and_writes_nothing(home: Home) -> None:
    before = (await filled(home)).keys.ring.ids
    writes = home.faults.writes

    vault = await home.vault()

    assert vault.keys.ring.ids == before
    assert home.faults.writes == writes
    assert [each.config for each in (await vault.store.everything())[0]] == [service(f"s{n}") for n in range(3)]


async def test_a_look_makes_no_key_and_writes_nothing(home: Home) -> None:
    assert await look_into(home.source(), home.shelf, PARSE) is None
    assert not home.path.exists()

    home.write_key(RAW)
    assert await look_into(home.source(), home.shelf, PARSE) is not None
    assert home.faults.writes == 0


@pytest.mark.parametrize("what", ["services", "services of v0.47", "key check"])
async def test_a_key_is_never_made_where_one_was_in_use(home: Home, what: str) -> None:
    match what:
        case "services":
            await filled(home)
            await home.documents.collection("system").delete("key")
        case "services of v0.47":
            await put_legacy(home, "db", RAW)
        case _:
            await home.vault()
    home.path.unlink(missing_ok=True)
    writes = home.faults.writes

    with pytest.raises(KeyUnusable, match="put the key back from your backup"):
        await home.vault()

    assert not home.path.exists()
    assert home.faults.writes == writes


@pytest.mark.parametrize("has_services", [True, False])
async def test_a_wrong_key_is_refused_before_any_write(home: Home, has_services: bool) -> None:
    await filled(home, 3 if has_services else 0)
    home.write_key(OTHER)
    writes = home.faults.writes

    with pytest.raises(KeyUnusable, match="wrong key") as caught:
        await home.vault()

    assert Key(OTHER).id in str(caught.value)
    assert home.faults.writes == writes


async def test_the_key_of_v047_is_taken_when_it_opens_what_is_there(home: Home) -> None:
    home.write_key(RAW)
    await put_legacy(home, "db", RAW)

    vault = await home.vault()

    assert [each.config for each in (await vault.store.everything())[0]] == [service("db")]
    assert home.faults.writes == 1


async def test_a_key_that_opens_nothing_of_v047_is_refused_before_any_write(home: Home) -> None:
    home.write_key(OTHER)
    await put_legacy(home, "db", RAW)

    with pytest.raises(KeyUnusable, match="none of the stored services can be opened"):
        await home.vault()

    assert home.faults.writes == 0


async def test_one_damaged_service_of_v047_does_not_make_a_key_wrong(home: Home) -> None:
    home.write_key(RAW)
    await put_legacy(home, "a", RAW, nonce=b"x" * 11)
    assert await home.vault() is not None
    await put_legacy(home, "b", OTHER)
    await put_legacy(home, "c", RAW)

    _, damaged = await (await home.vault()).store.everything()

    assert [each.name for each in damaged] == ["a", "b"]


@pytest.mark.parametrize("after", [False, True])
async def test_a_first_start_that_is_killed_is_gone_on_from(home: Home, after: bool) -> None:
    home.faults = Faults(at=1, after=after)
    with pytest.raises(Killed):
        await home.vault()
    made = home.lines()
    home.faults = Faults()

    vault = await home.vault()

    assert home.lines() == made
    assert await vault.check.verified(vault.keys.ring) is not None


async def test_two_hosts_that_begin_together_do_not_get_two_keys(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "other", documents=home.documents)
    other.folder.mkdir()
    await home.vault()

    with pytest.raises(KeyUnusable, match="was used with a key"):
        await other.vault()

    assert not other.path.exists()


async def test_a_key_that_somebody_else_has_just_checked_in_is_compared(home: Home) -> None:
    home.write_key(RAW)
    quick = await look_into(home.source(), home.shelf, PARSE)
    assert quick is not None
    await quick.check.create(quick.keys.ring, epoch=0)

    assert (await home.vault()).keys.ring.ids == quick.keys.ring.ids


class Deposed(SoleOwner):
    """An owner whose lease has run out."""

    def require(self) -> None:
        raise StaleOwner("planted")


async def test_nobody_but_the_owner_makes_a_key(home: Home) -> None:
    with pytest.raises(StaleOwner):
        await open_vault(home.source(), home.shelf, PARSE, Deposed())

    assert not home.path.exists()
    assert home.faults.writes == 0


async def test_a_check_that_was_changed_is_no_check(home: Home) -> None:
    vault = await home.vault()
    await vault.store.create(service(), origin="api", change=change("r"), epoch=0)
    system = home.documents.collection("system")
    stored = await system.get("key")
    assert stored is not None
    await system.put("key", {**stored.document, "envelope": {"v": 1, "kid": vault.keys.ring.current.id}})

    with pytest.raises(KeyUnusable, match="key check cannot be used"):
        await home.vault()
