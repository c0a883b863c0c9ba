"""What all clients of one cluster share: options, logs and errors of the client, calls of an administrator."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka.admin import AdminClient, ClusterMetadata  # type: ignore[attr-defined]  # it is there

from mstream.errors import MstreamError, ServiceError
from mstream.foundation.concurrency import shielded
from mstream.observability.logs import get_logger

from .config import KafkaConfig
from .faults import FAILURES, Fault, fault_of, kafka_error, masked, service_error, told
from .options import Client, client_options, hidden_values

log = get_logger(__name__)

#: Seconds for a question to the cluster.
PATIENCE: Final = 10.0
#: Errors are heard as such.
_SAID_TWICE: Final = frozenset({"FAIL", "ERROR"})
#: What the client says of settings that are ours.
_OF_OURS: Final = ("enable.gapless.guarantee",)


class Listener(Protocol):
    """Hears what a client reports of itself; called in whichever thread polls it."""

    def __call__(self, error: KafkaError) -> None:
        """An error that no call returns: no broker answers, who we are is not believed, a fatal one."""


class KafkaService:
    """One cluster. Clients are opened where they are needed, with `options`."""

    def __init__(self, config: KafkaConfig) -> None:
        self.config = config
        #: Values that stand in no text.
        self.hidden = hidden_values(config.client_settings, config.public)
        self._admin: AdminClient | None = None
        #: What the administrator has heard last: of which broker, and why.
        self._last: KafkaError | None = None

    def options(self, client: Client, listener: Listener | None = None) -> dict[str, Any]:
        """Everything such a client is made of: the service's options, its log, and who hears of its errors."""
        given: dict[str, Any] = client_options(self.config.client_settings, client)
        if client is Client.PRODUCER:
            given["delivery.report.only.error"] = True
        return {**given, "logger": ClientLog(self), "error_cb": self._heard(listener)}

    def check(self) -> None:
        """Raises ServiceError when the client does not take the options; a blocking call."""
        try:
            Producer(self.options(Client.PRODUCER))
            Consumer({"group.id": "mstream", **self.options(Client.CONSUMER)}).close()
        except FAILURES as error:
            raise self.error(error) from None

    async def metadata(self, topic: str | None, what: str, *, patience: float = PATIENCE) -> ClusterMetadata:
        """The brokers and a topic, or all topics. Raises ServiceError, at once where waiting would not help."""
        looks = max(1, round(patience))
        for look in range(1, looks + 1):
            try:
                return await asyncio.to_thread(self._look, topic)
            except FAILURES as error:
                reason = self._reason(error)
                if look == looks or fault_of(reason) is not Fault.UNREACHABLE:
                    raise self.error(reason, what) from None
        raise AssertionError  # the last look has returned or raised

    def _look(self, topic: str | None) -> ClusterMetadata:
        admin = self._administrator()
        found: ClusterMetadata = admin.list_topics(timeout=1) if topic is None else admin.list_topics(topic, timeout=1)
        self._last = None
        return found

    def _reason(self, error: BaseException) -> BaseException | KafkaError:
        """Why nobody answers, where the client knows it."""
        if self._admin is not None:
            self._admin.poll(0)
        return self._last if self._last is not None and fault_of(error) is Fault.UNREACHABLE else error

    async def answers(
        self, call: Callable[[AdminClient], dict[Any, Future[Any]]], *, patience: float = PATIENCE
    ) -> dict[Any, Any]:
        """What each future of such a call brings, or the KafkaException or TimeoutError that it ends with."""

        def waited() -> dict[Any, Any]:
            found: dict[Any, Any] = {}
            for key, future in call(self._administrator()).items():
                try:
                    found[key] = future.result(patience)
                except FAILURES as error:
                    found[key] = error
            return found

        return await asyncio.to_thread(waited)

    def error(self, error: BaseException | KafkaError, what: str = "") -> ServiceError:
        """Ours for an error of the client; `what` says where, behind the service's name."""
        return service_error(error, self.named(what), self.hidden)

    def record_error(self, error: BaseException | KafkaError, what: str = "") -> MstreamError:
        """The same for an error of one record."""
        return kafka_error(error, self.named(what), self.hidden)

    def named(self, what: str) -> str:
        """The service, and something of it, as errors name them."""
        name = f"service {self.config.name!r}"
        return f"{name}, {what}" if what else name

    def _administrator(self) -> AdminClient:
        if self._admin is None:
            self._last = None
            self._admin = AdminClient(self.options(Client.ADMIN, self._noted))
        self._admin.poll(0)  # or what it has to say would pile up
        return self._admin

    def _noted(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - the client's name for it
            self._last = error

    def _heard(self, listener: Listener | None) -> Listener:
        counts: Counter[int] = Counter()

        def heard(error: KafkaError) -> None:
            counts[error.code()] += 1
            count = counts[error.code()]
            # In an outage it comes twice a second: the first, second, fourth, … of its kind is said aloud.
            is_loud = count.bit_count() == 1 and fault_of(error) is not Fault.CLOSED
            tell = log.warning if is_loud else log.debug
            tell("kafka_client_error", service=self.config.name, error=told(error, self.hidden), count=count)
            if listener is not None:
                listener(error)

        return heard

    def close(self) -> None:
        """Lets the administrator go; waits for its threads."""
        self._admin = None


class ClientLog:
    """Where a client logs to; it calls this instead of a logger of the standard library."""

    def __init__(self, service: KafkaService) -> None:
        self._service = service

    def log(self, level: int, form: str, facility: str, client: str, text: str) -> None:
        """A line of the client: what it does is worth DEBUG, what it warns of WARNING."""
        if facility in _SAID_TWICE or any(each in text for each in _OF_OURS):
            return
        tell = log.warning if level >= logging.WARNING else log.debug
        said = masked(text, self._service.hidden)
        tell("kafka_client_said", service=self._service.config.name, facility=facility, text=said)


@asynccontextmanager
async def connect(config: KafkaConfig) -> AsyncIterator[KafkaService]:
    """The service; nothing is spoken to the cluster yet."""
    service = KafkaService(config)
    try:
        yield service
    finally:
        await shielded(asyncio.to_thread(service.close))
