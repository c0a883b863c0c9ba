"""Service definitions in an encrypted envelope, for the way between two processes."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mstream.domain.service import ServiceConfig
from mstream.errors import SecretUnavailable
from mstream.ports.provider import Catalog, provider_named

KEY_BYTES = 32
_NONCE_BYTES = 12


def new_key() -> bytes:
    """A key for one worker; it goes over a pipe and nowhere else."""
    return secrets.token_bytes(KEY_BYTES)


def seal(services: Mapping[str, ServiceConfig], *, key: bytes, run_id: str) -> bytes:
    """AES-256-GCM over the definitions as JSON, references unresolved, bound to the run."""
    plain = json.dumps({name: config.sealed() for name, config in services.items()}, default=str)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain.encode(), run_id.encode())


def unseal(envelope: bytes, *, key: bytes, run_id: str, catalog: Catalog) -> dict[str, ServiceConfig]:
    """The definitions again. Raises SecretUnavailable for an envelope of another key or run."""
    nonce, body = envelope[:_NONCE_BYTES], envelope[_NONCE_BYTES:]
    try:
        plain = AESGCM(key).decrypt(nonce, body, run_id.encode())
    except InvalidTag:
        message = f"the service definitions of run {run_id!r} were not sealed for this worker; start the job again"
        raise SecretUnavailable(message) from None
    definitions = json.loads(plain)
    return {
        name: provider_named(catalog, settings["provider"]).config.model_validate(settings)
        for name, settings in definitions.items()
    }
