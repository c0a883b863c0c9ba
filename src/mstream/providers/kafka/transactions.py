"""Records and the places of their source in one transaction of the cluster; everything that blocks, in one thread."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from mstream.errors import MstreamError, OutcomeUnknown, ServiceError, Unreachable
from mstream.foundation.clock import monotonic
from mstream.observability.logs import get_logger

from .faults import HOPELESS, OF_A_RECORD, Fault, fault_of, unwrapped
from .options import Client
from .outcomes import told_apart
from .records import Messages
from .service import KafkaService
from .sizes import fitting
from .topics import Topics
from .yielding import producer_of

log = get_logger(__name__)

T = TypeVar("T")

#: Seconds for one step of a transaction; the cluster gives the whole of it up after `transaction.timeout.ms`.
_PATIENCE: Final = 15.0
#: And for the first and the last of them, whatever the client does.
_TO_FENCE: Final = 4 * _PATIENCE
_TO_CLOSE: Final = _PATIENCE
#: Milliseconds after which the cluster gives up what a producer that is gone has left open.
_TIMEOUT_MS: Final = "10000"
#: Seconds between two looks whether a message has failed: those behind it are not sent any more.
_LOOK: Final = 0.2
#: Bytes of a request, at least.
_SMALLEST: Final = 1000
#: What keeps the fates of messages apart; it takes its time.
_ALONE: Final = {
    "batch.num.messages": "1",
    "linger.ms": "0",
    "max.in.flight.requests.per.connection": "1",
    "transaction.timeout.ms": "60000",
}
#: Seconds that a full queue is waited for at a time.
_ROOM: Final = 0.05
#: Faults of the client that a run cannot mend by trying again.
_FOR_GOOD: Final = HOPELESS | {Fault.AUTHORISATION, Fault.SETTINGS}


@dataclass(slots=True)
class Part:
    """The messages of one batch of a transaction, and which of them were not taken."""

    messages: Messages
    failed: list[tuple[KafkaError, Message]] = field(default_factory=list)
    #: By index: what the client has refused by itself.
    refused: dict[int, Exception] = field(default_factory=dict)

    def report(self, error: KafkaError | None, message: Message) -> None:
        """What the client says of one message."""
        if error is not None:
            self.failed.append((error, message))


class Transacting:
    """One producer with an identity: who has it later ends what an earlier one has left open."""

    def __init__(self, service: KafkaService, settings: Mapping[str, str], topics: Topics, what: str) -> None:
        self._service = service
        # How long a message may take is decided by the transaction's own time.
        self._settings = {key: value for key, value in settings.items() if key != "message.timeout.ms"}
        self._topics = topics
        self._what = what
        self._identity = ""
        self._producer: Producer | None = None
        self._sizes: tuple[int, int, bool] | None = None
        #: Into how many a request is cut that would fit by what the topics tell.
        self._parts = 1
        self._thread = _thread()
        #: How many threads there have been: one that comes back late must not commit.
        self._lives = 0
        #: Of the client's own accord: why nothing will come of it.
        self._hopeless: KafkaError | None = None

    async def fence(self, identity: str) -> None:
        """Returns once nobody else commits with this identity. Raises ServiceError."""
        self._identity = identity
        try:
            async with asyncio.timeout(_TO_FENCE):
                life = self._lives
                await self._in_thread(lambda: self._ready(life))
        except TimeoutError:
            raise Unreachable(self._given_to_another_thread("who may commit")) from None

    async def commit(self, parts: Sequence[Part], offsets: list[TopicPartition], group: Any) -> bool:
        """Whether all of it is committed, with the offsets in that group.

        False: nothing is, and the parts say which records were not taken. Raises ServiceError when nothing is,
        OutcomeUnknown when that is not known.
        """
        await self._topics.know({name for each in parts for name in each.messages.names()})
        life = self._lives
        try:
            async with asyncio.timeout(_TO_FENCE):
                return await self._in_thread(lambda: self._commit(life, parts, offsets, group))
        except TimeoutError:
            raise OutcomeUnknown(self._given_to_another_thread("a transaction")) from None

    async def close(self) -> None:
        """Leaves nothing open; a step that does not end is not waited for: who comes next ends what it has begun."""
        try:
            async with asyncio.timeout(_TO_CLOSE):
                await self._in_thread(self._drop)
        except TimeoutError:
            log.warning("producer_not_closed", service=self._service.config.name, seconds=_TO_CLOSE)
        self._thread.shutdown(wait=False)

    def _given_to_another_thread(self, what: str) -> str:
        """A call of the client may never return; what it has left open is ended by the next producer."""
        self._thread.shutdown(wait=False)
        self._thread = _thread()
        self._producer = None
        self._lives += 1
        return f"{self._service.named(self._what)}: no answer within {_TO_FENCE:g} seconds to {what}"

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # -------------------------------------------------------------------------------------------------- in the thread
    def _ready(self, life: int, *, alone: bool = False) -> Producer:
        """A producer that can begin a transaction; `alone`: it sends each message by itself."""
        self._check(life)
        message, request = fitting(self._topics.limits.values())
        sizes = (message, max(_SMALLEST, request // self._parts), alone)
        if self._producer is not None and sizes == self._sizes:
            return self._producer
        self._drop()
        self._hopeless = None
        message, request, _ = sizes
        own = {"message.max.bytes": str(message), "batch.size": str(request), "transaction.timeout.ms": _TIMEOUT_MS}
        ours = {"enable.idempotence": "true", "transactional.id": self._identity, **(_ALONE if alone else {})}
        options = self._service.options(Client.PRODUCER, self._heard)
        producer = None
        try:
            producer = producer_of({**options, **own, **self._settings, **ours})
            self._until_done(lambda: producer.init_transactions(1.0))
        except KafkaException as error:
            self._purge(producer)
            raise self._error(error) from None
        self._check(life)
        self._producer, self._sizes = producer, sizes
        return producer

    def _check(self, life: int) -> None:
        """Raises Unreachable in a thread that has come back late: another one is at work."""
        if life != self._lives:
            raise Unreachable(self._service.named(self._what))

    def _commit(self, life: int, parts: Sequence[Part], offsets: list[TopicPartition], group: Any) -> bool:
        producer = self._ready(life)
        committing = False
        try:
            with unwrapped():
                producer.begin_transaction()
                for part in parts:
                    self._produce(producer, part)
                if any(part.refused for part in parts) or self._is_unsent(producer, parts):
                    # What is given up now is reported as failed, too.
                    found = [list(part.failed) for part in parts]
                    self._abort(producer)
                    for part, failed in zip(parts, found, strict=True):
                        part.failed = failed
                    self._find_out(life, parts)
                    return False
                if offsets:
                    self._until_done(lambda: producer.send_offsets_to_transaction(offsets, group, _PATIENCE))
                self._check(life)
                committing = True
                self._until_done(lambda: producer.commit_transaction(_PATIENCE))
        except KafkaException as error:
            raise self._given_up(producer, error, committing=committing) from None
        return True

    def _find_out(self, life: int, parts: Sequence[Part]) -> None:
        """A request fails as a whole: it goes once more, each message alone, up to the one that is to blame."""
        if sum(len(each.failed) for each in parts) <= 1:
            return
        again = [Part(each.messages) for each in parts]
        producer = self._ready(life, alone=True)
        try:
            producer.begin_transaction()
            for part, alone in zip(parts, again, strict=True):
                failed = told_apart(part.messages, part.failed, part.refused)
                self._produce(producer, alone, only={index for index, _ in failed})
            self._is_unsent(producer, again, patience=_TO_FENCE)
            for part, alone in zip(parts, again, strict=True):
                part.failed = list(alone.failed)
            if not any(part.failed for part in parts):
                # None is to blame but their number: a topic takes less at once than it tells.
                self._parts *= 2
        finally:
            self._abort(producer)
            self._drop()

    def _produce(self, producer: Producer, part: Part, only: Collection[int] | None = None) -> None:
        produce, report = producer.produce, part.report
        for index, topic, value, key, time, headers in part.messages.rows():
            while only is None or index in only:
                try:
                    produce(topic, value, key, -1, report, None, time, headers)  # type: ignore[arg-type]  # as the sink
                except BufferError:
                    producer.poll(_ROOM)
                    continue
                except KafkaException as error:
                    if fault_of(error) not in OF_A_RECORD:
                        raise
                    part.refused[index] = error
                except (TypeError, ValueError) as error:
                    part.refused[index] = error
                break

    def _is_unsent(self, producer: Producer, parts: Sequence[Part], patience: float = _PATIENCE) -> bool:
        """Whether there is a message that was not taken. Raises KafkaException where that is not for its own sake."""
        began = monotonic()
        while producer.flush(_LOOK) and not any(part.failed for part in parts):
            if self._hopeless is not None:
                raise KafkaException(self._hopeless)
            if monotonic() - began > patience:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001 - its name has an underscore
        failed = [error for part in parts for error, _ in part.failed]
        others = [each for each in failed if fault_of(each) not in OF_A_RECORD | {Fault.CLOSED}]
        if others:
            raise KafkaException(others[0])
        return bool(failed)

    def _until_done(self, step: Callable[[], object]) -> None:
        """Again while the client says that it may; it knows what it has done already."""
        began = monotonic()
        while True:
            try:
                step()
            except KafkaException as error:
                if self._hopeless is not None:
                    raise KafkaException(self._hopeless) from None
                if not error.args[0].retriable() or monotonic() - began > _PATIENCE:
                    raise
            else:
                return

    def _given_up(self, producer: Producer, error: KafkaException, *, committing: bool) -> MstreamError:
        """What is raised for it; the next transaction has a producer that can begin one."""
        kafka_error = error.args[0]
        if kafka_error.txn_requires_abort() or not (committing or kafka_error.fatal()):
            self._abort(producer)
            return self._error(error)
        self._drop()
        found = self._error(error)
        if not committing:
            return found
        return OutcomeUnknown(f"{found}; whether the transaction was committed is not known")

    def _abort(self, producer: Producer) -> None:
        try:
            with unwrapped():
                self._until_done(lambda: producer.abort_transaction(_PATIENCE))
        except KafkaException as error:
            # The next producer with this identity ends it.
            log.info("transaction_not_aborted", service=self._service.config.name, fault=fault_of(error).name)
            self._drop()

    def _drop(self) -> None:
        producer, self._producer = self._producer, None
        self._purge(producer)

    def _purge(self, producer: Producer | None) -> None:
        if producer is not None:
            with contextlib.suppress(KafkaException), unwrapped():
                producer.purge(in_queue=True, in_flight=True, blocking=False)
                producer.poll(0)

    def _heard(self, error: KafkaError) -> None:
        if fault_of(error) in HOPELESS:
            self._hopeless = error

    def _error(self, error: KafkaException) -> ServiceError:
        """A new producer can go on where one is fenced, or out of step; not where somebody must mend something."""
        found = self._service.error(error, self._what)
        return found if found.retryable or fault_of(error) in _FOR_GOOD else Unreachable(str(found))


def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="kafka-transactions")
