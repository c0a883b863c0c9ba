"""What an operator is told of TLS, by a listener that speaks it, and by one that does not."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mstream.domain.batch import Batch
from mstream.errors import AccessDenied, Unreachable
from mstream.ports.probe import Outcome
from mstream.providers.kafka import PROVIDER
from mstream.providers.kafka.config import KafkaConfig
from tests.integration.test_kafka_sink import opened
from tests.servers.certificates import self_signed

RECORD = Batch(payloads=[b"1"], positions={"lane": 1})


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Of 127.0.0.1, by nobody but itself; the key is in the same file."""
    return self_signed(tmp_path / "broker.pem")


@asynccontextmanager
async def listening(context: ssl.SSLContext | None) -> AsyncIterator[str]:
    """Where somebody listens who says nothing, and without TLS hangs up."""

    async def heard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError):
                if context is not None:
                    await reader.read()
        finally:
            writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async with await asyncio.start_server(heard, "127.0.0.1", 0, ssl=context) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_a_certificate_that_nobody_vouches_for_is_told_at_once(certificate: Path) -> None:
    async with listening(tls(certificate)) as where:
        settings = {"bootstrap.servers": where, "security.protocol": "ssl"}
        async with opened(settings, "orders") as sink:
            with pytest.raises(AccessDenied, match=r"_SSL.*check .*ssl\.ca\.location"):
                await sink.write(RECORD)


async def test_a_listener_that_hangs_up_may_come_back() -> None:
    async with listening(None) as where:
        settings = {"bootstrap.servers": where, "security.protocol": "ssl"}
        async with opened(settings, "orders") as sink:
            with pytest.raises(Unreachable, match=where):
                await sink.write(RECORD)


@pytest.mark.parametrize(("trusted", "outcome"), [(True, Outcome.OK), (False, Outcome.FAILED)])
async def test_a_test_of_the_service_tells_whether_the_certificate_is_trusted(
    certificate: Path, trusted: bool, outcome: Outcome
) -> None:
    assert PROVIDER.probe is not None
    own = {"ssl.ca.location": str(certificate)} if trusted else {}
    async with listening(tls(certificate)) as where:
        config = {"name": "bus", "bootstrap.servers": where, "security.protocol": "ssl", **own}
        config["ssl.endpoint.identification.algorithm"] = "none"
        steps = {each.name: each for each in await PROVIDER.probe(KafkaConfig.model_validate(config))}

    assert steps["tls"].outcome is outcome
    assert trusted or "ssl.ca.location" in steps["tls"].advice
