"""Hashes of values: the same for the same value, whatever the order of its fields."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

#: A shorter key can be found by trying.
_MIN_KEY = 16


def hash_sha256(value: Any) -> str | None:
    """The SHA-256 of a value in lower-case hex; None stays None.

    A string is hashed as its UTF-8 bytes and bytes as they are. Everything else is hashed as canonical JSON: no
    blanks, fields sorted by name, fractions in their shortest form. So 5 and "5" hash alike, as do true and "true";
    1 and 1.0 do not. The fields' order never matters, the elements' order does.

    A hash without a key does not protect what can be guessed: telephone numbers, dates of birth and addresses are
    found by trying them all. Use `hmac_sha256` for those.
    """
    return None if value is None else hashlib.sha256(canonical(value)).hexdigest()


def hmac_sha256(value: Any, key: str | bytes) -> str | None:
    """The HMAC-SHA-256 of a value in lower-case hex; None stays None.

    Values are written as `hash_sha256` writes them. Without the key nobody can tell which value a hash belongs to,
    nor try values until one fits. Raises ValueError for a key shorter than 16 bytes.
    """
    secret = key.encode("utf-8") if isinstance(key, str) else bytes(key)
    if len(secret) < _MIN_KEY:
        message = f"the key of hmac_sha256 has {len(secret)} bytes; it needs at least {_MIN_KEY}"
        raise ValueError(message)
    return None if value is None else hmac.new(secret, canonical(value), hashlib.sha256).hexdigest()


def canonical(value: Any) -> bytes:
    """The bytes that stand for a value: its text, or canonical JSON; raises TypeError for what has none."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    plain = _plain(value)
    if isinstance(plain, str):
        return plain.encode("utf-8", "surrogatepass")
    text = json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | str() | int():
            return value
        case float():
            return _fraction(value)
        case dict():
            return _object(value)
        case list() | tuple():
            return [_plain(each) for each in value]
        case date():
            return value.isoformat()
        case Decimal() | UUID():
            return str(value)
    message = f"a {type(value).__name__} cannot be hashed; make it a text first"
    raise TypeError(message)


def _fraction(value: float) -> float:
    """As a plain double; -0.0 equals 0.0 and hashes like it."""
    return math.fabs(value) if value == 0 else float(value)


def _object(value: dict[Any, Any]) -> dict[str, Any]:
    for key in value:
        if not isinstance(key, str):
            message = f"an object whose field name is a {type(key).__name__} cannot be hashed"
            raise TypeError(message)
    return {key: _plain(each) for key, each in value.items()}
