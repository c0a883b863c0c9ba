"""Which options of the client are passed on, to which kind of client, and which are ours alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Final


class Client(StrEnum):
    """The kinds of client that are made of one service."""

    ADMIN = "admin"
    CONSUMER = "consumer"
    PRODUCER = "producer"


#: Fields of a service that are no options of the client.
_OWN_FIELDS: Final = frozenset({"provider", "name"})

#: Options that librdkafka has for consumers alone; of others it complains at each start.
OF_CONSUMERS: Final = frozenset(
    {
        "auto.offset.reset",
        "check.crcs",
        "coordinator.query.interval.ms",
        "enable.partition.eof",
        "fetch.error.backoff.ms",
        "fetch.max.bytes",
        "fetch.message.max.bytes",
        "fetch.min.bytes",
        "fetch.queue.backoff.ms",
        "fetch.wait.max.ms",
        "group.id",
        "group.instance.id",
        "group.protocol",
        "group.protocol.type",
        "group.remote.assignor",
        "heartbeat.interval.ms",
        "isolation.level",
        "max.partition.fetch.bytes",
        "max.poll.interval.ms",
        "max.poll.records",
        "partition.assignment.strategy",
        "queued.max.messages.kbytes",
        "queued.min.messages",
        "session.timeout.ms",
    }
)

#: And for producers alone.
OF_PRODUCERS: Final = frozenset(
    {
        "acks",
        "batch.num.messages",
        "batch.size",
        "compression.codec",
        "compression.level",
        "compression.type",
        "delivery.timeout.ms",
        "enable.gapless.guarantee",
        "enable.idempotence",
        "linger.ms",
        "max.in.flight",
        "max.in.flight.requests.per.connection",
        "message.send.max.retries",
        "message.timeout.ms",
        "partitioner",
        "queue.buffering.backpressure.threshold",
        "queue.buffering.max.kbytes",
        "queue.buffering.max.messages",
        "queue.buffering.max.ms",
        "queuing.strategy",
        "request.required.acks",
        "request.timeout.ms",
        "retries",
        "sticky.partitioning.linger.ms",
        "transaction.timeout.ms",
    }
)

_RUNS_CODE: Final = "it would load or run what is no part of mstream; take it out"
_OURS: Final = "mstream sets it itself; take it out"

#: Options that nobody may set, and why.
REFUSED: Final[Mapping[str, str]] = {
    "plugin.library.paths": _RUNS_CODE,
    "ssl.engine.location": _RUNS_CODE,
    "ssl.engine.id": _RUNS_CODE,
    "ssl.providers": _RUNS_CODE,
    "sasl.kerberos.kinit.cmd": _RUNS_CODE,
    "transactional.id": _OURS + " and ask for delivery = 'effectively_once'",
    "delivery.report.only.error": _OURS,
    "queuing.strategy": "records leave in their order; take it out",
    "enabled_events": _OURS,
    "log.queue": _OURS,
}

_AFTER_DELIVERY: Final = "offsets are committed once records are delivered; the option is not passed on, take it out"

#: Options that older versions took and that mean nothing any more, and why.
IGNORED: Final[Mapping[str, str]] = {
    "auto.commit.enable": _AFTER_DELIVERY,
    "auto.commit.interval.ms": _AFTER_DELIVERY,
    "consume.callback.max.messages": "records are read in batches; the option is not passed on, take it out",
    "enable.auto.commit": _AFTER_DELIVERY,
    "enable.auto.offset.store": _AFTER_DELIVERY,
    "offset.store.method": _AFTER_DELIVERY,
    "offset.store.path": _AFTER_DELIVERY,
    "offset.store.sync.interval.ms": _AFTER_DELIVERY,
}

#: Other names of the same option: the one that we know it by.
_ALIASES: Final[Mapping[str, str]] = {
    "delivery.timeout.ms": "message.timeout.ms",
    "max.in.flight": "max.in.flight.requests.per.connection",
    "queue.buffering.max.ms": "linger.ms",
    "request.required.acks": "acks",
}

#: Secrets shorter than this cannot be told from other text.
_SHORTEST_SECRET: Final = 4
#: The only signs that may stand in what a shell is given to renew a ticket.
_PLAIN: Final = re.compile(r"[A-Za-z0-9@/._:+-]*")
_FOR_A_SHELL: Final = ("sasl.kerberos.principal", "sasl.kerberos.keytab", "sasl.kerberos.service.name")

#: What every client begins with, unless the service says otherwise.
_DEFAULTS: Final[Mapping[Client, Mapping[str, str]]] = {
    Client.ADMIN: {},
    Client.CONSUMER: {},
    Client.PRODUCER: {"linger.ms": "5", "partitioner": "murmur2_random"},
}


def refused(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Options that cannot be used, each with the reason."""
    for key in options:
        if key in REFUSED:
            yield key, REFUSED[key]
        elif key.endswith("_cb") or key == "opaque":
            yield key, "it is set in programs alone; take it out"
    for key in _FOR_A_SHELL:
        if not _PLAIN.fullmatch(str(options.get(key, ""))):
            yield key, "a shell would read its signs; use letters, digits and @ / . _ : + - alone"
    if str(options.get("acks", options.get("request.required.acks", ""))) == "0":
        yield "acks", "with 0 nobody would know what was written; use 'all'"


def client_options(options: Mapping[str, str], client: Client) -> dict[str, str]:
    """What such a client is given: ours below, the service's above; each by one name."""
    foreign = {Client.ADMIN: OF_CONSUMERS | OF_PRODUCERS, Client.CONSUMER: OF_PRODUCERS, Client.PRODUCER: OF_CONSUMERS}
    given = {
        _ALIASES.get(key, key): value
        for key, value in options.items()
        if key not in foreign[client] and key not in IGNORED and key not in _OWN_FIELDS
    }
    return {**_DEFAULTS[client], **given}


def hidden_values(options: Mapping[str, Any], public: frozenset[str]) -> frozenset[str]:
    """Values that stand in no text: of every option that is not known to be harmless."""
    return frozenset(
        value
        for key, value in options.items()
        if key not in public and isinstance(value, str) and len(value) >= _SHORTEST_SECRET and not value.isdigit()
    )


def as_text(value: Any) -> Any:
    """A number or boolean as the client takes it; everything else as it is."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case _:
            return value
