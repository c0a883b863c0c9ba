"""Batches at a producer: begun in order, failed together so that none is overtaken.

The producer is idempotent and gapless, and never gives up a message by itself: what cannot be delivered in time is
taken back with everything behind it, and a new producer begins after that.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from mstream.errors import MstreamError, ServiceError, Unreachable

from .faults import HOPELESS, OF_A_RECORD, Fault, fault_of, unwrapped
from .isolating import SETTINGS, each_alone
from .lots import Ledger, Lot, Report
from .options import Client
from .order import Order
from .outcomes import told_apart
from .records import Messages, Row
from .service import KafkaService
from .sizes import fitting
from .topics import Topics
from .yielding import producer_of

#: Seconds between two looks at what the producer reports: while something is under way, and else.
_BUSY: Final = 0.002
_IDLE: Final = 1.0
#: Seconds after which a message that nobody has acknowledged is taken back, unless `delivery.timeout.ms` says so.
_PATIENCE: Final = 120.0
#: Seconds that the reports of messages may take that are taken back.
_LAST_REPORTS: Final = 10.0


class Producing:
    """One producer after the other, and the lots at it. Everything happens on the loop."""

    def __init__(self, service: KafkaService, settings: Mapping[str, str], topics: Topics, what: str) -> None:
        self._service = service
        self._settings = settings
        self._topics = topics
        #: The sink's resource, as errors name it.
        self.what = what
        self._loop = asyncio.get_running_loop()
        self._producer: Producer | None = None
        #: Of the producer that there is.
        self._ledger: Ledger | None = None
        self._lots: dict[Lot, None] = {}
        #: Why nothing more is given to this producer, and since when.
        self._spoilt: MstreamError | None = None
        self._spoilt_at = 0.0
        self._is_purged = False
        self._heard: KafkaError | None = None
        self._has_delivered = False
        #: The producer that there is must not be used any more.
        self._is_stale = False
        self._order = Order()
        #: Bytes of a message and of a request of the producer that there is.
        self._sizes = (0, 0)
        self._turn = asyncio.Lock()
        self._begun = asyncio.Event()
        #: How many lots there have been.
        self._number = 0

    async def send(self, messages: Messages) -> tuple[Lot, MstreamError | None]:
        """All of it, in the order of the calls; the lot once its end is known, and why it was taken back, if it was.

        Raises what keeps all of them from being sent.
        """
        self._enter()
        self._order.enter()
        lot: Lot | None = None
        try:
            async with self._turn:
                self._check()
                await self._ready(messages)
                lot = Lot(messages, self._failed)
                lot.number = self._number = self._number + 1
                self._lots[lot] = None
                self._begun.set()
                await self._begin(lot)
            await lot.done
            self._has_delivered = self._has_delivered or len(lot.failed) < lot.given
            if lot.has_bad_records() and self._is_first(lot):
                return await self._isolated(lot), self._spoilt
            return lot, self._spoilt
        except MstreamError as error:
            # Those that wait for their turn must not be first.
            self._spoil(error)
            raise
        finally:
            self._leave(lot)

    def _enter(self) -> None:
        """After a failure everything that was under way is given back; what came first must come again first."""
        if self._spoilt is None:
            return
        if not self._order.is_settled():
            self._check()
        self._spoilt, self._heard, self._is_stale = None, None, True
        self._order.begin_anew()

    def _leave(self, lot: Lot | None) -> None:
        self._lots.pop(lot, None)  # type: ignore[arg-type]  # None is in no dictionary of lots
        if self._spoilt is None or (lot is not None and lot.is_delivered()):
            self._order.leave()
        else:
            self._order.give_back(None if lot is None else lot.number)

    def _check(self) -> None:
        if self._spoilt is not None:
            raise type(self._spoilt)(*self._spoilt.args)

    def _is_first(self, lot: Lot) -> bool:
        """Nothing that came before it has failed, or may still fail."""
        if self._spoilt is None:
            return True
        before = (each for each in self._lots if each.number < lot.number)
        return self._order.is_before_all(lot.number) and all(each.is_delivered() for each in before)

    async def _isolated(self, lot: Lot) -> Lot:
        """What failed of it, each alone, before anything behind it comes again."""
        indexes = {index for index, _ in told_apart(lot.messages, lot.failed, lot.never_sent())} | set(lot.unsent)
        holder = [self._producer_with({**self._settings_for(self._sizes), **SETTINGS})]
        try:
            found = await each_alone(holder[0], lot.messages, indexes, self._patience())
        finally:
            await asyncio.to_thread(holder.clear)
        found.number = lot.number
        found.refused |= lot.refused
        return found

    # ----------------------------------------------------------------------------------------------------------- begin
    async def _ready(self, messages: Messages) -> None:
        """A producer that takes these messages."""
        await self._topics.know(messages.names())
        sizes = fitting(self._topics.limits.values())
        if self._producer is not None and not self._is_stale and sizes == self._sizes:
            return
        for each in list(self._lots):
            await asyncio.wait({each.done})
        self._check()
        await self._let_go()
        self._make(sizes)

    async def _begin(self, lot: Lot) -> None:
        assert self._producer is not None  # noqa: S101 - made before
        assert self._ledger is not None  # noqa: S101 - made with it
        rows = lot.messages.rows()
        report = self._ledger.report(lot)
        row = self._produce(rows, lot, report)
        while row is not None:
            if not len(self._producer):
                # No room will do: it is larger than all that the producer may hold.
                lot.refuse(row[0], KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)))
                row = self._produce(rows, lot, report)
                continue
            await self._room()
            if self._spoilt is not None:
                lot.unsent += [row[0], *(each[0] for each in rows)]
                return
            row = self._produce(chain((row,), rows), lot, report)
        self._poll()

    def _produce(self, rows: Iterator[Row], lot: Lot, report: Report) -> Row | None:
        """The row before which the producer's queue is full; None: all of them are in it."""
        assert self._producer is not None  # noqa: S101 - made before
        assert self._ledger is not None  # noqa: S101 - made with it
        produce = self._producer.produce
        left, given = None, 0
        for row in rows:
            index, topic, value, key, time, headers = row
            try:
                produce(topic, value, key, -1, report, None, time, headers)  # type: ignore[arg-type]  # dict is invariant
            except BufferError:
                left = row
                break
            except KafkaException as error:
                if fault_of(error) not in OF_A_RECORD:
                    self._failed(error.args[0], topic)
                    # Whatever it is: what follows must not be there before it.
                    self._spoil(self._ours(error.args[0], f"topic {topic!r}"))
                    lot.unsent += [index, *(each[0] for each in rows)]
                else:
                    lot.refuse(index, error)
            except (TypeError, ValueError) as error:
                lot.refuse(index, error)
            else:
                given += 1
        lot.given += given
        self._ledger.given += given
        return left

    async def _room(self) -> None:
        """Returns once the producer has sent half of what it holds, or is spoilt."""
        assert self._producer is not None  # noqa: S101 - made before
        most = len(self._producer) // 2
        while len(self._producer) > most and self._spoilt is None:
            await asyncio.sleep(_BUSY)
            self._poll()

    # --------------------------------------------------------------------------------------------------------- reports
    async def serve(self) -> None:
        """Takes what the producer reports; runs beside the writes."""
        while True:
            if self._lots:
                await asyncio.sleep(_BUSY)
            else:
                self._begun.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_IDLE):
                        await self._begun.wait()
            try:
                self._poll()
            except Exception as error:
                # Nobody would take reports any more.
                for each in self._lots:
                    if not each.done.done():
                        each.done.set_exception(error)
                raise

    def _poll(self) -> None:
        if self._producer is None or self._ledger is None:
            return
        try:
            with unwrapped():
                self._producer.poll(0)
        except KafkaException as error:  # so it tells what is fatal
            self._on_error(error.args[0])
        self._ledger.settle()
        now = self._loop.time()
        oldest = next(iter(self._lots), None)
        if oldest is None:
            return
        patience = self._patience()
        if self._spoilt is None and patience and now - oldest.began > patience:
            self._spoil(self._late(patience))
        if self._spoilt is not None and not self._is_purged:
            self._is_purged = True
            self._producer.purge(in_queue=True, in_flight=True, blocking=False)
        if self._is_purged and now - self._spoilt_at > _LAST_REPORTS:
            for each in self._lots:
                if not each.done.done() and self._spoilt is not None:
                    each.done.set_exception(self._spoilt)

    def _failed(self, error: KafkaError, topic: str | None) -> None:
        """A message was not delivered: what is at the producer behind it must not be, either."""
        fault = fault_of(error)
        if fault in OF_A_RECORD or fault is Fault.CLOSED:
            return
        if fault is Fault.MISSING and topic is not None:
            self._spoil(self._topics.missing(topic))
            return
        self._spoil(self._ours(error, f"topic {topic!r}"))

    def _on_error(self, error: KafkaError) -> None:
        """What the client reports of itself."""
        self._heard = error
        if error.fatal():
            self._spoil(self._ours(error, self.what))
        elif fault_of(error) in HOPELESS and not self._has_delivered:
            self._spoil(self._service.error(error, self.what))

    def _ours(self, error: KafkaError, what: str) -> ServiceError:
        """A new producer can do what one that is fenced, or out of step, cannot."""
        found = self._service.error(error, what)
        if fault_of(error) in {Fault.AUTHENTICATION, Fault.AUTHORISATION, Fault.TLS, Fault.SETTINGS}:
            return found
        return found if found.retryable else Unreachable(str(found))

    def _spoil(self, error: MstreamError) -> None:
        if self._spoilt is None:
            self._spoilt, self._is_purged = error, False
            self._spoilt_at = self._loop.time()
        elif self._spoilt.retryable and not error.retryable:
            # That a request has failed is told before why it has.
            self._spoilt = error

    def _late(self, patience: float) -> MstreamError:
        text = f"{self._service.named(self.what)}: no acknowledgement within {patience:g} seconds (delivery.timeout.ms)"
        if self._heard is None:
            return Unreachable(text)
        found = self._service.error(self._heard)
        kind = type(found) if fault_of(self._heard) in HOPELESS else Unreachable
        return kind(f"{text}; the last that was heard: {found}")

    def _patience(self) -> float:
        """0: for ever."""
        given = self._settings.get("message.timeout.ms")
        return _PATIENCE if given is None else int(given) / 1000

    # -------------------------------------------------------------------------------------------------------- producers
    def _make(self, sizes: tuple[int, int]) -> None:
        self._producer = self._producer_with(self._settings_for(sizes))
        self._ledger = Ledger(self._producer)
        self._sizes, self._is_stale = sizes, False

    def _settings_for(self, sizes: tuple[int, int]) -> dict[str, str]:
        message, request = sizes
        own = {"enable.idempotence": "true", "message.max.bytes": str(message), "batch.size": str(request)}
        if self._settings.get("acks", "all") not in {"all", "-1"}:
            own["enable.idempotence"] = "false"
        own |= self._settings
        if own["enable.idempotence"] == "true":
            own["enable.gapless.guarantee"] = "true"
        else:
            own.setdefault("max.in.flight.requests.per.connection", "1")
        return {**own, "message.timeout.ms": "0"}

    def _producer_with(self, settings: Mapping[str, str]) -> Producer:
        try:
            return producer_of({**self._service.options(Client.PRODUCER, self._on_error), **settings})
        except KafkaException as error:
            raise self._service.error(error, self.what) from None

    async def _let_go(self) -> None:
        """Ends a producer, in a thread: its threads are waited for."""
        holder: list[Any] = [self._producer]
        self._producer = self._ledger = None
        if holder[0] is not None:
            await asyncio.to_thread(holder.clear)

    async def close(self) -> None:
        """Takes back what is still under way."""
        if self._producer is not None and self._lots:
            self._producer.purge(in_queue=True, in_flight=True, blocking=False)
            self._producer.poll(0)
        await self._let_go()
