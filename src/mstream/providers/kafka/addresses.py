"""Where brokers are, and how TLS is spoken with them, as the client's options say."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

Address = tuple[str, int]

_PORT: Final = 9092
#: Certificates in these the client alone can read.
_IN_STORES: Final = frozenset(
    {"ssl.keystore.location", "ssl.ca.certificate.stores", "ssl.key.pem", "ssl.certificate.pem"}
)


def addresses(settings: Mapping[str, str]) -> list[Address]:
    """The brokers that are asked first. Raises ValueError for what is none."""
    text = settings.get("bootstrap.servers") or settings.get("metadata.broker.list") or ""
    found = [_address(each.strip()) for each in text.split(",") if each.strip()]
    if not found:
        message = "no broker is named"
        raise ValueError(message)
    return found


def shown(hosts: Sequence[Address]) -> str:
    """Addresses as people write them."""
    return ", ".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in hosts)


def tls_context(settings: Mapping[str, str]) -> ssl.SSLContext | None:
    """What the client would make of its options; None: it alone can. Raises OSError, SSLError."""
    if not _IN_STORES.isdisjoint(settings):
        return None
    context = ssl.create_default_context()
    place = settings.get("ssl.ca.location")
    if place and place != "probe":
        is_folder = Path(place).is_dir()
        context = ssl.create_default_context(cafile=None if is_folder else place, capath=place if is_folder else None)
    if "ssl.ca.pem" in settings:
        context.load_verify_locations(cadata=settings["ssl.ca.pem"])
    trusts_all = settings.get("enable.ssl.certificate.verification", "true").lower() in {"false", "0", "f"}
    if trusts_all or settings.get("ssl.endpoint.identification.algorithm", "https").lower() == "none":
        context.check_hostname = False
    if trusts_all:
        context.verify_mode = ssl.CERT_NONE
    if "ssl.certificate.location" in settings:
        context.load_cert_chain(
            settings["ssl.certificate.location"],
            settings.get("ssl.key.location"),
            password=settings.get("ssl.key.password"),
        )
    return context


def _address(text: str) -> Address:
    place = text.rpartition("://")[2]
    host, separator, port = place.rpartition(":")
    if not separator or place.endswith("]"):
        host, port = place, str(_PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit():
        message = f"{text!r} in bootstrap.servers is no address"
        raise ValueError(message)
    return host, int(port)
