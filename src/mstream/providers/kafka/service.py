"""What all clients of one cluster share: options, logs and errors of the client, calls of an administrator."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol, TypeVar

from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient

from mstream.errors import MstreamError, ServiceError
from mstream.observability.logs import get_logger

from .config import KafkaConfig
from .faults import FAILURES, Fault, fault_of, kafka_error, masked, service_error, told
from .options import Client, client_options, hidden_values

log = get_logger(__name__)

T = TypeVar("T")

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

    def options(self, client: Client, listener: Listener | None = None, **own: Any) -> dict[str, Any]:
        """Everything such a client is made of; `own` by the names of librdkafka with `_` for `.`, above all others."""
        given: dict[str, Any] = client_options(self.config.client_settings, client)
        given.update({key.replace("_", "."): value for key, value in own.items()})
        return {**given, "logger": ClientLog(self), "error_cb": self._heard(listener)}

    async def ask(self, call: Callable[[AdminClient], T], what: str, *, patience: float = PATIENCE) -> T:
        """The answer of a blocking call to an administrator, made in a thread. Raises ServiceError."""
        try:
            async with asyncio.timeout(2 * patience):
                return await asyncio.to_thread(lambda: call(self._administrator()))
        except FAILURES as error:
            raise self.error(error, what) from None

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
            self._admin = AdminClient(self.options(Client.ADMIN))
        self._admin.poll(0)  # or what it has to say would pile up
        return self._admin

    def _heard(self, listener: Listener | None) -> Listener:
        counts: Counter[str] = Counter()

        def heard(error: KafkaError) -> None:
            text = told(error, self.hidden)
            counts[text] += 1
            # In an outage it comes twice a second: the first, second, fourth, … is said aloud.
            is_loud = counts[text].bit_count() == 1 and fault_of(error) is not Fault.CLOSED
            tell = log.warning if is_loud else log.debug
            tell("kafka_client_error", service=self.config.name, error=text, count=counts[text])
            if listener is not None:
                listener(error)

        return heard

    def close(self) -> None:
        """Lets the administrator go."""
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
        service.close()
