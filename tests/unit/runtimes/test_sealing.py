"""Definitions cross a border sealed, or not at all."""

from __future__ import annotations

import pickle

import pytest

from mstream.errors import SecretUnavailable
from mstream.foundation.secrets import Secret
from mstream.runtimes.inline import InlineRuntime
from mstream.runtimes.sealing import new_key, seal, unseal
from tests.unit.runtimes import stand_in
from tests.unit.runtimes.stand_in import CATALOG, PLANTED, RecordingOwner, StandInConfig, spec

SERVICES = {"svc": StandInConfig(name="svc", password=Secret(PLANTED))}


def test_definitions_come_back_as_they_were() -> None:
    key = new_key()

    assert unseal(seal(SERVICES, key=key, run_id="r"), key=key, run_id="r", catalog=CATALOG) == SERVICES


def test_an_envelope_shows_nothing() -> None:
    assert PLANTED.encode() not in seal(SERVICES, key=new_key(), run_id="r")


@pytest.mark.parametrize(("key", "run_id"), [(new_key(), "r"), (None, "another")], ids=["another key", "another run"])
def test_an_envelope_of_another_key_or_run_is_refused(key: bytes | None, run_id: str) -> None:
    ours = new_key()
    envelope = seal(SERVICES, key=ours, run_id="r")

    with pytest.raises(SecretUnavailable):
        unseal(envelope, key=key or ours, run_id=run_id, catalog=CATALOG)


def test_an_envelope_that_was_changed_is_refused() -> None:
    key = new_key()
    envelope = bytearray(seal(SERVICES, key=key, run_id="r"))
    envelope[-20] ^= 1

    with pytest.raises(SecretUnavailable):
        unseal(bytes(envelope), key=key, run_id="r", catalog=CATALOG)


def test_a_spec_with_a_literal_secret_cannot_cross_unsealed() -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(spec("quiet"))


async def test_no_message_carries_a_secret_in_plain_bytes() -> None:
    seen: list[bytes] = []
    async with InlineRuntime(CATALOG, run=stand_in.run, pickled=True, sees=seen.append) as runtime:
        handle = await runtime.start(spec("quiet"), RecordingOwner())
        await handle.started()
        handle.drain()
        await handle.outcome()

    assert sum(b"svc" in each for each in seen) > 0
    assert not any(PLANTED.encode() in each for each in seen)
