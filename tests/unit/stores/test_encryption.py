"""Keys and envelopes: what is sealed opens in its place alone."""

from __future__ import annotations

import copy
import pickle
import traceback
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from mstream.errors import DocumentDamaged
from mstream.stores.encryption import Key, KeyRing

RAW = bytes(range(32))
OTHER = bytes(range(32, 64))
RING = KeyRing([Key(RAW), Key(OTHER)])

keys = st.binary(min_size=32, max_size=32)
names = st.text(max_size=20)


def legacy(plain: bytes, raw: bytes = RAW, nonce: bytes = b"n" * 12) -> dict[str, Any]:
    return {"nonce": list(nonce), "data": list(AESGCM(raw).encrypt(nonce, plain, None))}


@given(raw=keys, plain=st.binary(max_size=200), collection=names, name=names)
def test_what_is_sealed_comes_back(raw: bytes, plain: bytes, collection: str, name: str) -> None:
    ring = KeyRing([Key(raw)])

    envelope = ring.seal(plain, collection=collection, name=name)

    assert ring.unseal(envelope, collection=collection, name=name) == plain
    assert set(envelope) == {"v", "kid", "nonce", "ct"}
    assert len(envelope["ct"]) == len(plain) + 16


@given(one=st.tuples(names, names), other=st.tuples(names, names))
def test_an_envelope_opens_in_its_own_place_alone(one: tuple[str, str], other: tuple[str, str]) -> None:
    envelope = RING.seal(b"plain", collection=one[0], name=one[1])

    if one == other:
        assert RING.unseal(envelope, collection=other[0], name=other[1]) == b"plain"
    else:
        with pytest.raises(DocumentDamaged):
            RING.unseal(envelope, collection=other[0], name=other[1])


@given(at=st.integers(0, 20), bit=st.integers(0, 7))
def test_a_changed_bit_is_noticed(at: int, bit: int) -> None:
    envelope = RING.seal(b"plain", collection="c", name="n")
    body = bytearray(envelope["ct"])
    body[at] ^= 1 << bit

    with pytest.raises(DocumentDamaged, match="its bytes were changed"):
        RING.unseal({**envelope, "ct": bytes(body)}, collection="c", name="n")


@given(
    nonce=st.one_of(st.binary(max_size=30).filter(lambda each: len(each) != 12), st.none(), st.text(), st.integers())
)
def test_a_nonce_of_another_length_is_a_damaged_document(nonce: object) -> None:
    envelope = RING.seal(b"plain", collection="c", name="n")

    with pytest.raises(DocumentDamaged, match="nonce"):
        RING.unseal({**envelope, "nonce": nonce}, collection="c", name="n")
    with pytest.raises(DocumentDamaged, match="nonce"):
        RING.unseal_legacy({**legacy(b"plain"), "nonce": nonce})


@pytest.mark.parametrize("body", [None, "text", b"short", [], [1, 2], [256] * 20, [-1] * 20, [True] * 20, [1.0] * 20])
def test_a_ciphertext_that_is_none_is_a_damaged_document(body: object) -> None:
    envelope = RING.seal(b"plain", collection="c", name="n")

    with pytest.raises(DocumentDamaged, match="ciphertext"):
        RING.unseal({**envelope, "ct": body}, collection="c", name="n")
    with pytest.raises(DocumentDamaged, match="ciphertext"):
        RING.unseal_legacy({**legacy(b"plain"), "data": body})


@pytest.mark.parametrize("change", [{"v": 2}, {"v": None}, {"kid": "0" * 16}, {"kid": 7}])
def test_an_unknown_version_or_key_is_named(change: dict[str, object]) -> None:
    envelope = RING.seal(b"plain", collection="c", name="n") | change

    with pytest.raises(DocumentDamaged, match=r"version|key ring"):
        RING.unseal(envelope, collection="c", name="n")


def test_the_older_keys_of_a_ring_open_and_the_first_seals() -> None:
    under_the_old_one = KeyRing([Key(OTHER)]).seal(b"plain", collection="c", name="n")

    assert RING.unseal(under_the_old_one, collection="c", name="n") == b"plain"
    assert RING.seal(b"plain", collection="c", name="n")["kid"] == Key(RAW).id
    assert RING.ids == (Key(RAW).id, Key(OTHER).id)


@pytest.mark.parametrize("form", [bytes, list])
@pytest.mark.parametrize("raw", [RAW, OTHER])
def test_documents_of_v047_open_with_whichever_key_wrote_them(form: type, raw: bytes) -> None:
    written = legacy(b"plain", raw)

    plain, key = RING.unseal_legacy({name: form(bytes(value)) for name, value in written.items()})

    assert (plain, key.id) == (b"plain", Key(raw).id)


def test_a_document_of_v047_under_another_key_is_damaged() -> None:
    with pytest.raises(DocumentDamaged, match="no key of the key ring opens it"):
        RING.unseal_legacy(legacy(b"plain", b"z" * 32))


@given(raw=keys)
def test_a_key_id_is_short_and_always_the_same(raw: bytes) -> None:
    assert Key(raw).id == Key(raw).id
    assert len(Key(raw).id) == 16
    assert Key(raw).id not in raw.hex()


def test_the_same_plain_text_never_gives_the_same_envelope() -> None:
    envelopes = [RING.seal(b"plain", collection="c", name="n") for _ in range(50)]

    assert len({each["nonce"] for each in envelopes}) == 50


def test_a_key_is_never_shown() -> None:
    key = Key(RAW)
    planted = (RAW.hex(), RAW.hex().upper(), repr(RAW)[2:-1], str(list(RAW))[1:-1])
    shown = [repr(key), str(key), f"{key}", repr(RING), str([key]), repr({"key": key})]
    try:
        RING.unseal({"v": 1, "kid": key.id, "nonce": b"x" * 12, "ct": b"y" * 32}, collection="c", name="n")
    except DocumentDamaged:
        shown.append(traceback.format_exc())

    assert [each for each in planted for text in shown if each in text] == []


def test_a_key_cannot_be_pickled_or_copied_by_accident() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Key(RAW))
    with pytest.raises(TypeError):
        copy.deepcopy(KeyRing([Key(RAW)]).keys)
