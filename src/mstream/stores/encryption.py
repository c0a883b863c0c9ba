"""AES-256-GCM envelopes that are bound to their place, and the keys that open them."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mstream.errors import DocumentDamaged

KEY_BYTES: Final = 32

#: The version of the envelope; it is part of what the ciphertext is bound to.
_VERSION: Final = 1
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_ID_LABEL: Final = b"mstream key id\x00"
_ID_DIGITS: Final = 16
_MARK_LABEL: Final = b"mstream content mark"
_BYTE: Final = 256


class Key:
    """One AES-256 key; it shows its id and nothing else."""

    __slots__ = ("_cipher", "_raw", "id")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._cipher = AESGCM(raw)
        #: Tells keys apart; nothing of the key can be learned from it.
        self.id: str = hashlib.sha256(_ID_LABEL + raw).hexdigest()[:_ID_DIGITS]

    @classmethod
    def new(cls) -> Key:
        """A random one."""
        return cls(secrets.token_bytes(KEY_BYTES))

    def text(self) -> str:
        """The key itself, as 64 hexadecimal digits: for the key file and nothing else."""
        return self._raw.hex()

    def encrypt(self, nonce: bytes, plain: bytes, bound_to: bytes | None) -> bytes:
        """The ciphertext, its tag appended."""
        return self._cipher.encrypt(nonce, plain, bound_to)

    def decrypt(self, nonce: bytes, body: bytes, bound_to: bytes | None) -> bytes | None:
        """The plain text; None: another key, another place, or changed bytes."""
        try:
            return self._cipher.decrypt(nonce, body, bound_to)
        except InvalidTag:
            return None

    def mark(self, content: bytes) -> str:
        """Equal for equal contents under the same key; without the key nothing can be learned from it."""
        derived = hmac.digest(self._raw, _MARK_LABEL, "sha256")
        return hmac.new(derived, content, "sha256").hexdigest()

    def __repr__(self) -> str:
        return f"<key {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and secrets.compare_digest(other._raw, self._raw)

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> NoReturn:
        message = "a key cannot be pickled"
        raise TypeError(message)


class KeyRing:
    """Several keys: the first is current, the others only decrypt."""

    __slots__ = ("_by_id", "keys")

    def __init__(self, keys: Sequence[Key]) -> None:
        self._by_id = {each.id: each for each in reversed(keys)}
        #: Each once, in the order given.
        self.keys: tuple[Key, ...] = tuple(dict.fromkeys(keys))

    @property
    def current(self) -> Key:
        """What is written from now on is written under this one."""
        return self.keys[0]

    @property
    def ids(self) -> tuple[str, ...]:
        """Their ids, the current one's first."""
        return tuple(each.id for each in self.keys)

    def __contains__(self, key_id: object) -> bool:
        return key_id in self._by_id

    def __getitem__(self, key_id: str) -> Key:
        return self._by_id[key_id]

    def mark(self, content: bytes) -> str:
        """Equal for equal contents under the same current key; without it nothing can be learned from the mark."""
        return self.current.mark(content)

    def __repr__(self) -> str:
        return f"<key ring {', '.join(self.ids)}>"

    def seal(self, plain: bytes, *, collection: str, name: str) -> dict[str, Any]:
        """An envelope under the current key that can be opened in this place alone."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        body = self.current.encrypt(nonce, plain, _bound_to(collection, name))
        return {"v": _VERSION, "kid": self.current.id, "nonce": nonce, "ct": body}

    def unseal(self, envelope: Mapping[str, Any], *, collection: str, name: str) -> bytes:
        """What was sealed. Raises DocumentDamaged, saying why it cannot be opened."""
        if envelope.get("v") != _VERSION:
            raise DocumentDamaged("its envelope has a version that this program does not know")
        kid = key_id_of(envelope)
        if kid is None or kid not in self:
            raise DocumentDamaged(f"it is encrypted under the key {kid}, which is not in the key ring; add that key")
        nonce, body = _parts(envelope.get("nonce"), envelope.get("ct"))
        plain = self[kid].decrypt(nonce, body, _bound_to(collection, name))
        if plain is None:
            raise DocumentDamaged("it cannot be decrypted: its bytes were changed, or belong to another name")
        return plain

    def seal_legacy(self, plain: bytes) -> tuple[bytes, bytes]:
        """Nonce and ciphertext as v0.47 reads them: under the current key, bound to no place."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce, self.current.encrypt(nonce, plain, None)

    def unseal_legacy(self, document: Mapping[str, Any]) -> tuple[bytes, Key]:
        """What v0.47 has encrypted, as `data` and `nonce`, and the key that opens it. Raises DocumentDamaged."""
        nonce, body = _parts(document.get("nonce"), document.get("data"))
        for key in self.keys:
            plain = key.decrypt(nonce, body, None)
            if plain is not None:
                return plain, key
        raise DocumentDamaged("no key of the key ring opens it: add the key that it was written with")


def key_id_of(envelope: Mapping[str, Any]) -> str | None:
    """The id of the key that it says it was sealed with."""
    kid = envelope.get("kid")
    return kid if isinstance(kid, str) else None


def is_legacy(document: Mapping[str, Any]) -> bool:
    """Whether it has the form of v0.47, which names no key."""
    return "envelope" not in document and "data" in document


def is_whole(encrypted: Mapping[str, Any]) -> bool:
    """Whether there is something that a key could open: an envelope's parts, or those of v0.47."""
    try:
        _parts(encrypted.get("nonce"), encrypted.get("ct", encrypted.get("data")))
    except DocumentDamaged:
        return False
    return True


def _bound_to(collection: str, name: str) -> bytes:
    return json.dumps(["mstream", _VERSION, collection, name]).encode()


def _parts(nonce: Any, body: Any) -> tuple[bytes, bytes]:
    found = _octets(nonce), _octets(body)
    if found[0] is None or len(found[0]) != _NONCE_BYTES:
        raise DocumentDamaged(f"its nonce is not of {_NONCE_BYTES} bytes")
    if found[1] is None or len(found[1]) < _TAG_BYTES:
        raise DocumentDamaged("its ciphertext is missing or cut off")
    return found[0], found[1]


def _octets(value: Any) -> bytes | None:
    """Bytes, or the list of numbers that v0.47 wrote for them."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, list | tuple) and all(type(each) is int and 0 <= each < _BYTE for each in value):
        return bytes(value)
    return None
