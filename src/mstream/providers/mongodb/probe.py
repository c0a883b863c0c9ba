"""Test of a deployment, step by step: settings, names, tcp, tls, replica set, authentication, privileges."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pymongo.asynchronous.mongo_client import AsyncMongoClient
from pymongo.errors import OperationFailure
from pymongo.uri_parser import parse_uri

from mstream.errors import ServiceError
from mstream.ports.probe import Outcome, ProbeStep

from .config import MongodbConfig
from .faults import FAILURES, Fault, fault_of, told
from .service import client_settings, connect

#: Seconds for each thing that is waited for.
_PATIENCE: Final = 5.0
#: What a sink and a store do; a source needs the first.
_ACTIONS: Final = ("find", "insert", "update", "remove")
_REFUSES_USER: Final = frozenset({11, 18, 8000})
_NO_MECHANISM: Final = frozenset({2, 59, 334})
_READ_WRITE: Final = "grant the user the role readWrite on the database"

Told = tuple[Outcome, str, str]


@dataclass(slots=True)
class _Deployment:
    """What is known of it so far."""

    config: MongodbConfig
    hosts: list[tuple[str, int]] = field(default_factory=list)
    #: Those that answer.
    open: list[tuple[str, int]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    #: A user is named, or a certificate stands for one.
    has_user: bool = False


async def probe(config: MongodbConfig) -> list[ProbeStep]:
    """Each step in turn; what comes after one that has failed is not tried. Never raises for what it finds."""
    deployment = _Deployment(config)
    steps: list[ProbeStep] = []
    for name, look in _BEFORE:
        steps.append(await _step(name, look(deployment), steps))
    if any(each.outcome is Outcome.FAILED for each in steps):
        return [*steps, *(ProbeStep(name=name, outcome=Outcome.SKIPPED) for name in _WITHIN)]
    try:
        async with connect(config.model_copy(update={"server_selection_timeout_sec": _PATIENCE})) as live:
            return [*steps, *await _spoken(live.client, deployment)]
    except ServiceError as error:
        return [*steps, ProbeStep(name=_SERVER, outcome=Outcome.FAILED, detail=str(error))]


async def _step(name: str, looked: Awaitable[Told], before: Sequence[ProbeStep]) -> ProbeStep:
    if any(each.outcome is Outcome.FAILED for each in before):
        looked.close()  # type: ignore[attr-defined]  # a coroutine that is not needed
        return ProbeStep(name=name, outcome=Outcome.SKIPPED)
    outcome, detail, advice = await looked
    return ProbeStep(name=name, outcome=outcome, detail=detail, advice=advice)


# -------------------------------------------------------------------------------------------- before anything is spoken
async def _settings(deployment: _Deployment) -> Told:
    """The connection string, the fields beside it, and the files that both name. A `+srv` name is resolved here."""
    config = deployment.config
    url = config.connection_string.reveal()
    try:
        found = await asyncio.to_thread(parse_uri, url)
        async with connect(config):
            pass
    except ServiceError as error:
        return Outcome.FAILED, str(error), ""
    except OSError as error:
        advice = "name a file that this program can read"
        return Outcome.FAILED, f"a file that the connection_string names cannot be read: {error.strerror}", advice
    except (*FAILURES, ValueError, TypeError) as error:
        if fault_of(error) is Fault.UNREACHABLE:
            advice = "mongodb+srv:// needs SRV and TXT records of that name; or name the servers with mongodb://"
            return Outcome.FAILED, "DNS does not know the servers of the connection_string", advice
        advice = "write connection_string as mongodb://host:port/?option=value; quote user and password as in URLs"
        return Outcome.FAILED, f"the connection_string cannot be read ({type(error).__name__})", advice
    deployment.hosts = list(found["nodelist"])
    deployment.options = {**found["options"], **client_settings(config)}
    user = found["username"] or config.username
    deployment.has_user = bool(user) or deployment.options.get("authMechanism") in {"MONGODB-X509", "MONGODB-AWS"}
    return Outcome.OK, f"{_shown(deployment.hosts)}, database {config.db_name!r}", ""


async def _names(deployment: _Deployment) -> Told:
    unknown = []
    for host, port in deployment.hosts:
        try:
            async with asyncio.timeout(_PATIENCE):
                await asyncio.get_running_loop().getaddrinfo(host, port)
        except OSError:
            unknown.append((host, port))
    if len(unknown) == len(deployment.hosts):
        return Outcome.FAILED, f"nothing is known of {_shown(unknown)}", "correct the host's name, or the resolver"
    deployment.hosts = [each for each in deployment.hosts if each not in unknown]
    if unknown:
        return Outcome.WARNING, f"nothing is known of {_shown(unknown)}", "correct the name, or take it out"
    return Outcome.OK, "", ""


async def _tcp(deployment: _Deployment) -> Told:
    refused: list[str] = []
    for host, port in deployment.hosts:
        try:
            async with asyncio.timeout(_PATIENCE):
                _, writer = await asyncio.open_connection(host, port)
            writer.close()
            deployment.open.append((host, port))
        except OSError as error:
            reason = "no answer" if isinstance(error, TimeoutError) else os.strerror(error.errno or 0)
            refused.append(f"{_shown([(host, port)])}: {reason}")
    advice = "is the server running, does it listen there, does a firewall stand between?"
    if not deployment.open:
        return Outcome.FAILED, "; ".join(refused), advice
    return (Outcome.WARNING, "; ".join(refused), advice) if refused else (Outcome.OK, "", "")


async def _tls(deployment: _Deployment) -> Told:
    options = deployment.options
    if not options.get("tls"):
        return Outcome.SKIPPED, "not asked for", ""
    host, port = deployment.open[0]
    try:
        context = await asyncio.to_thread(_context, options)
        async with asyncio.timeout(_PATIENCE):
            _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
        writer.close()
    except ssl.SSLCertVerificationError as error:
        advice = "name the authority in tls_ca_file, and the server as its certificate does"
        return Outcome.FAILED, f"the certificate is not trusted: {error.verify_message}", advice
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        advice = "does the server speak TLS on this port? Does it want a certificate of ours?"
        return Outcome.FAILED, f"no agreement on TLS: {reason}", advice
    return Outcome.OK, "", ""


def _context(options: dict[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.get("tlsCAFile"))
    trusts_all = options.get("tlsInsecure") or options.get("tlsAllowInvalidCertificates")
    if trusts_all or options.get("tlsAllowInvalidHostnames"):
        context.check_hostname = False
    if trusts_all:
        context.verify_mode = ssl.CERT_NONE
    own = options.get("tlsCertificateKeyFile")
    if own:
        context.load_cert_chain(own, password=options.get("tlsCertificateKeyFilePassword"))
    return context


_BEFORE: Final[tuple[tuple[str, Callable[[_Deployment], Awaitable[Told]]], ...]] = (
    ("settings", _settings),
    ("names", _names),
    ("tcp", _tcp),
    ("tls", _tls),
)


# ------------------------------------------------------------------------------------------------------ with the server
_SERVER, _USER, _PRIVILEGES = _WITHIN = ("replica set", "authentication", "privileges")


async def _spoken(client: AsyncMongoClient[Any], deployment: _Deployment) -> list[ProbeStep]:
    """A member is chosen before the user is asked for: which of both fails is told by the error."""
    skipped = [ProbeStep(name=name, outcome=Outcome.SKIPPED) for name in (_USER, _PRIVILEGES)]
    try:
        async with asyncio.timeout(2 * _PATIENCE):
            hello = await client.admin.command("hello")
    except OperationFailure as error:
        refused = ProbeStep(name=_USER, outcome=Outcome.FAILED, detail=told(error), advice=_advice_of_user(error))
        return [ProbeStep(name=_SERVER, outcome=Outcome.OK), refused, skipped[1]]
    except (*FAILURES, TimeoutError) as error:
        return [_no_member(error, deployment), *skipped]
    user = ProbeStep(name=_USER, outcome=Outcome.OK)
    if not deployment.has_user:
        user = ProbeStep(name=_USER, outcome=Outcome.SKIPPED, detail="no user is named")
    return [_member(hello), user, await _privileges(client, deployment)]


def _no_member(error: BaseException, deployment: _Deployment) -> ProbeStep:
    advice = ["is there a primary, and are its members' own names known here?"]
    name = deployment.options.get("replicaSet")
    if name:
        advice.append(f"does the replica set call itself {name!r}?")
    if not deployment.options.get("tls"):
        advice.append("does the server want TLS (tls = true)?")
    detail = "no answer" if isinstance(error, TimeoutError) else told(error)
    return ProbeStep(name=_SERVER, outcome=Outcome.FAILED, detail=detail, advice=" ".join(advice))


def _member(hello: dict[str, Any]) -> ProbeStep:
    if "setName" in hello:
        detail = f"{hello['setName']!r}, {len(hello.get('hosts', ()))} members with data"
        return ProbeStep(name=_SERVER, outcome=Outcome.OK, detail=detail)
    if hello.get("msg") == "isdbgrid":
        return ProbeStep(name=_SERVER, outcome=Outcome.OK, detail="sharded, behind a router")
    advice = "change streams and transactions need a replica set; one member is enough"
    return ProbeStep(name=_SERVER, outcome=Outcome.WARNING, detail="a server on its own", advice=advice)


def _advice_of_user(error: OperationFailure) -> str:
    if error.code in _REFUSES_USER:
        return "check username, password and auth_source"
    if error.code in _NO_MECHANISM:
        return "the server does not know this way of proving who one is; check auth_mechanism"
    return ""


async def _privileges(client: AsyncMongoClient[Any], deployment: _Deployment) -> ProbeStep:
    """By what the server says of the user; where it says nothing, by a read that finds nothing."""
    database = deployment.config.db_name
    try:
        async with asyncio.timeout(_PATIENCE):
            await client[database]["mstream-probe"].find_one({"_id": 0})
            status = await client.admin.command({"connectionStatus": 1, "showPrivileges": True})
    except OperationFailure as error:
        if fault_of(error) is Fault.DENIED:
            detail = f"database {database!r} may not be read"
            return ProbeStep(name=_PRIVILEGES, outcome=Outcome.FAILED, detail=detail, advice=_READ_WRITE)
        return ProbeStep(name=_PRIVILEGES, outcome=Outcome.SKIPPED, detail="the server does not tell them")
    except (*FAILURES, TimeoutError) as error:
        return ProbeStep(name=_PRIVILEGES, outcome=Outcome.FAILED, detail=told(error))
    info = status.get("authInfo", {})
    if not info.get("authenticatedUsers"):
        return ProbeStep(name=_PRIVILEGES, outcome=Outcome.SKIPPED, detail="the server asks nobody who it is")
    missing = [each for each in _ACTIONS if each not in _granted(info.get("authenticatedUserPrivileges", ()), database)]
    if not missing:
        return ProbeStep(name=_PRIVILEGES, outcome=Outcome.OK)
    outcome = Outcome.FAILED if "find" in missing else Outcome.WARNING
    detail = f"the user may not {', '.join(missing)} everywhere in {database!r}"
    return ProbeStep(name=_PRIVILEGES, outcome=outcome, detail=detail, advice=_READ_WRITE)


def _granted(privileges: Sequence[dict[str, Any]], database: str) -> set[str]:
    """What may be done in every collection of the database."""
    granted: set[str] = set()
    for each in privileges:
        resource = each.get("resource", {})
        of_all = resource.get("db") in {"", database} and resource.get("collection") == ""
        if of_all or resource.get("anyResource"):
            granted.update(each.get("actions", ()))
    return granted


def _shown(hosts: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{host}:{port}" for host, port in hosts)
