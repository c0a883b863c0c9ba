"""Test of a cluster, step by step: settings, names, tcp, tls, authentication, brokers, privileges."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from mstream.errors import AccessDenied, ServiceError
from mstream.ports.probe import Outcome, ProbeStep

from .addresses import Address, addresses, shown, tls_context
from .config import KafkaConfig
from .rights import rights
from .service import KafkaService, connect

#: Seconds for each thing that is waited for.
_PATIENCE: Final = 5.0

Told = tuple[Outcome, str, str]
_SKIPPED: Final[Told] = (Outcome.SKIPPED, "", "")


@dataclass(slots=True)
class _Cluster:
    """What is known of it so far."""

    service: KafkaService
    hosts: list[Address] = field(default_factory=list)
    #: Those that answer.
    open: list[Address] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, str]:
        """Options of the client."""
        return self.service.config.client_settings

    @property
    def protocol(self) -> str:
        """How brokers are spoken to."""
        return self.settings.get("security.protocol", "plaintext").lower()


async def probe(config: KafkaConfig) -> Sequence[ProbeStep]:
    """Each step in turn; what comes after one that has failed is not tried. Never raises for what it finds."""
    steps: list[ProbeStep] = []
    async with connect(config) as live:
        cluster = _Cluster(live)
        for name, look in _STEPS:
            is_over = any(each.outcome is Outcome.FAILED for each in steps)
            outcome, detail, advice = _SKIPPED if is_over else await look(cluster)
            steps.append(ProbeStep(name=name, outcome=outcome, detail=detail, advice=advice))
    return steps


async def _settings(cluster: _Cluster) -> Told:
    """What the client itself says of its options, and the addresses that it begins with."""
    try:
        await asyncio.to_thread(cluster.service.check)
    except ServiceError as error:
        return Outcome.FAILED, str(error), ""
    try:
        cluster.hosts = addresses(cluster.settings)
    except ValueError as error:
        return Outcome.FAILED, str(error), 'write "bootstrap.servers" = "host:9092,other:9092"'
    return Outcome.OK, shown(cluster.hosts), ""


async def _names(cluster: _Cluster) -> Told:
    unknown = []
    for host, port in cluster.hosts:
        try:
            async with asyncio.timeout(_PATIENCE):
                await asyncio.get_running_loop().getaddrinfo(host, port)
        except OSError:
            unknown.append((host, port))
    if len(unknown) == len(cluster.hosts):
        return Outcome.FAILED, f"nothing is known of {shown(unknown)}", "correct the host's name, or the resolver"
    cluster.hosts = [each for each in cluster.hosts if each not in unknown]
    if unknown:
        return Outcome.WARNING, f"nothing is known of {shown(unknown)}", "correct the name, or take it out"
    return Outcome.OK, "", ""


async def _tcp(cluster: _Cluster) -> Told:
    cluster.open, refused = await _answering(cluster.hosts)
    advice = "is the broker running, does it listen there, does a firewall stand between?"
    if not cluster.open:
        return Outcome.FAILED, "; ".join(refused), advice
    return (Outcome.WARNING, "; ".join(refused), advice) if refused else (Outcome.OK, "", "")


async def _answering(hosts: Sequence[Address]) -> tuple[list[Address], list[str]]:
    """Where somebody listens, and why not at the others."""
    found: list[Address] = []
    refused: list[str] = []
    for host, port in hosts:
        try:
            async with asyncio.timeout(_PATIENCE):
                _, writer = await asyncio.open_connection(host, port)
            writer.close()
            found.append((host, port))
        except OSError as error:
            reason = "no answer" if isinstance(error, TimeoutError) else os.strerror(error.errno or 0)
            refused.append(f"{shown([(host, port)])}: {reason}")
    return found, refused


async def _tls(cluster: _Cluster) -> Told:
    if "ssl" not in cluster.protocol:
        return Outcome.SKIPPED, "not asked for", ""
    host, port = cluster.open[0]
    try:
        context = await asyncio.to_thread(tls_context, cluster.settings)
        if context is None:
            return Outcome.SKIPPED, "certificates in a key store are left to the client", ""
        async with asyncio.timeout(_PATIENCE):
            _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
        writer.close()
    except ssl.SSLCertVerificationError as error:
        advice = "name the authority in ssl.ca.location, and the broker as its certificate does"
        return Outcome.FAILED, f"the certificate is not trusted: {error.verify_message}", advice
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        advice = "does the broker speak TLS on this port? Does it want a certificate of ours?"
        return Outcome.FAILED, f"no agreement on TLS: {reason}", advice
    return Outcome.OK, "", ""


async def _authentication(cluster: _Cluster) -> Told:
    """Asks for the brokers: who is not believed gets no answer."""
    try:
        await cluster.service.metadata(None, "", patience=_PATIENCE)
    except AccessDenied as error:
        return Outcome.FAILED, str(error), ""
    except ServiceError:
        return Outcome.SKIPPED, "no answer", ""
    if "sasl" not in cluster.protocol:
        return Outcome.SKIPPED, "no user is named", ""
    return Outcome.OK, "", ""


async def _brokers(cluster: _Cluster) -> Told:
    """Every broker must be reached where it says that it is."""
    try:
        found = await cluster.service.metadata(None, "", patience=_PATIENCE)
    except ServiceError as error:
        advice = "does the broker want TLS, or a user (security.protocol)?"
        return Outcome.FAILED, str(error), advice
    hosts = [(str(each.host), int(each.port)) for each in found.brokers.values()]
    answering, refused = await _answering(hosts)
    advice = "brokers name themselves (advertised.listeners): these names must lead to them from here"
    if not answering:
        return Outcome.FAILED, "; ".join(refused), advice
    detail = f"{len(hosts)} brokers, {len(found.topics)} topics to be seen"
    return (Outcome.WARNING, "; ".join(refused), advice) if refused else (Outcome.OK, detail, "")


async def _privileges(cluster: _Cluster) -> Told:
    """As far as the cluster tells them."""
    try:
        found = await rights(cluster.service, cluster.settings.get("group.id"), patience=_PATIENCE)
    except ServiceError as error:
        return Outcome.SKIPPED, f"the cluster does not tell them ({error})", ""
    missing = found.missing()
    if missing:
        return Outcome.WARNING, f"{found}; {', '.join(missing)}", "grant the user what the jobs need"
    return Outcome.OK, str(found), ""


_STEPS: Final[tuple[tuple[str, Callable[[_Cluster], Awaitable[Told]]], ...]] = (
    ("settings", _settings),
    ("names", _names),
    ("tcp", _tcp),
    ("tls", _tls),
    ("authentication", _authentication),
    ("brokers", _brokers),
    ("privileges", _privileges),
)
