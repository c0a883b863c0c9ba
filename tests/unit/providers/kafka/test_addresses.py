"""Where brokers are, and how TLS is spoken with them."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from mstream.providers.kafka.addresses import addresses, shown, tls_context


def test_brokers_are_named_in_many_ways() -> None:
    text = "a:1, b , ssl://c:3,[::1]:4,[::2]"

    found = addresses({"bootstrap.servers": text})
    assert found == [("a", 1), ("b", 9092), ("c", 3), ("::1", 4), ("::2", 9092)]
    assert shown(found) == "a:1, b:9092, c:3, [::1]:4, [::2]:9092"
    assert addresses({"metadata.broker.list": "a:1"}) == [("a", 1)]


@pytest.mark.parametrize("text", ["", " , ", "a:b", ":1", "a:"])
def test_what_names_no_broker(text: str) -> None:
    with pytest.raises(ValueError, match=r"no address|no broker"):
        addresses({"bootstrap.servers": text})


def test_certificates_are_looked_at_unless_that_is_turned_off() -> None:
    default = tls_context({})
    unnamed = tls_context({"ssl.endpoint.identification.algorithm": "none"})
    trusting = tls_context({"enable.ssl.certificate.verification": "false"})

    assert default is not None
    assert unnamed is not None
    assert trusting is not None
    assert (default.verify_mode, default.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert (unnamed.verify_mode, unnamed.check_hostname) == (ssl.CERT_REQUIRED, False)
    assert trusting.verify_mode is ssl.CERT_NONE


def test_files_that_are_not_there_are_errors(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere.pem")

    for name in ("ssl.ca.location", "ssl.certificate.location"):
        with pytest.raises(FileNotFoundError):
            tls_context({name: nowhere})
    assert tls_context({"ssl.ca.location": str(tmp_path)}) is not None


def test_key_stores_are_left_to_the_client() -> None:
    assert tls_context({"ssl.keystore.location": "x"}) is None
