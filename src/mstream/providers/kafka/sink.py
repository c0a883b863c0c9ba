"""Batches as messages of topics, several on their way at once, each key in order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from confluent_kafka import KafkaError, Message

from mstream.domain.batch import Batch, Form
from mstream.domain.connector import SinkRef
from mstream.errors import GuaranteeUnavailable, MstreamError, RecordRefused, Unreachable
from mstream.foundation.concurrency import background, shielded
from mstream.ports.checkpoints import PendingCheckpoint
from mstream.ports.encoding import Conversion
from mstream.ports.roles import Failure

from .handles import GroupHandle
from .lots import Lot
from .options import Client, client_options
from .outcomes import Outcome, outcome_of, topic_of, with_followers
from .producing import Producing
from .records import MessageMaker, Messages
from .service import KafkaService
from .topics import Topics
from .transactions import Part, Transacting
from .writing import KafkaSinkOptions


class KafkaSink:
    """One topic, or one by record; what `write` has returned for is acknowledged by the cluster."""

    accepts: Form = Form.PAYLOADS
    overlap: int = 16

    def __init__(
        self,
        service: KafkaService,
        settings: Mapping[str, str],
        maker: MessageMaker,
        producing: Producing,
        topics: Topics,
    ) -> None:
        self._service = service
        self._settings = settings
        self._maker = maker
        self._producing = producing
        self._topics = topics
        #: Made where its transactions carry the places of the source.
        self._transacting: Transacting | None = None

    async def write(self, batch: Batch) -> Sequence[Failure]:
        """Returns once every message was acknowledged, or is a failure."""
        if not len(batch):
            return ()
        lot, taken_back = await self._producing.send(self._maker.messages(batch))
        if not (lot.failed or lot.refused or lot.unsent or lot.messages.refused):
            return ()
        return self._failures(batch, lot, taken_back)

    def write_keys_by(self, conversion: Conversion) -> None:
        """As `ports.encoding.KeyedSink`."""
        self._maker.write_keys_by(conversion)

    async def fence(self, job: str, member: int) -> None:
        """Nobody else commits for this member from now on; what a member before it has left open is given up."""
        template = self._maker.template
        if template.is_fixed:
            # What it takes decides how the producer is made; another one later would fence whoever has followed.
            await self._topics.know({template.texts[0]})
        self._transacting = Transacting(self._service, self._settings, self._topics, self._producing.what)
        await self._transacting.fence(f"mstream-{job}-{member}")

    async def write_with(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> Sequence[Failure]:
        """In one transaction with the places of the source in its group, which is of the same cluster."""
        handle = checkpoint.source_handle
        if self._transacting is None or not isinstance(handle, GroupHandle):
            message = f"{self._service.named(self._producing.what)}: the source has no group in this cluster"
            raise GuaranteeUnavailable(message)
        if not handle.has_generation:
            message = f"{self._service.named(self._producing.what)}: the source is just joining its group again"
            raise Unreachable(message)
        parts = [Part(self._maker.messages(each)) for each in batches]
        if not any(each.messages.refused for each in parts):
            offsets = handle.offsets(checkpoint.positions)
            if await self._transacting.commit(parts, offsets, handle.group):
                return ()
        failures: list[Failure] = []
        start = 0
        for part in parts:
            failures += [replace(each, index=start + each.index) for each in self._refusals(part)]
            start += len(part.messages.values)
        if not failures:
            message = f"{self._service.named(self._producing.what)}: a request was refused, and none of its messages is"
            raise Unreachable(message)
        return failures

    async def close(self) -> None:
        """Leaves no transaction open."""
        if self._transacting is not None:
            await self._transacting.close()

    def _refusals(self, part: Part) -> Sequence[Failure]:
        """Nothing of the transaction was written: only those count that would never be."""
        found = self._outcome(part.messages, part.failed, part.refused, is_exact=True)
        refused = {**found.refused, **part.messages.refused}
        for index, error in part.refused.items():
            refused[index] = self._error(error, topic_of(part.messages, index))
        return [Failure(index=index, error=error) for index, error in sorted(refused.items())]

    def _failures(self, batch: Batch, lot: Lot, taken_back: MstreamError | None) -> Sequence[Failure]:
        if taken_back is not None and not taken_back.retryable:
            raise taken_back
        found = self._outcome(lot.messages, lot.failed, lot.never_sent(), is_exact=lot.is_exact)
        if not lot.is_exact:
            # Which one of a request it was is found out when it is the first.
            found.again |= found.refused
            found.refused = {}
        refused = {**found.refused, **lot.messages.refused}
        for index, error in lot.refused.items():
            refused[index] = self._error(error, topic_of(lot.messages, index))
        again = {index: taken_back or error for index, error in found.again.items()}
        if taken_back is not None:
            again |= dict.fromkeys(lot.unsent, taken_back)
        failures = with_followers(batch, lot.messages.keys, again, refused)
        if failures and len(failures) == len(batch):
            raise failures[0].error
        refusals = [Failure(index=index, error=error) for index, error in refused.items()]
        return sorted([*failures, *refusals], key=lambda each: each.index)

    def _outcome(
        self,
        messages: Messages,
        failed: Sequence[tuple[KafkaError, Message]],
        never_sent: Collection[int],
        *,
        is_exact: bool,
    ) -> Outcome:
        limits = self._topics.limits
        return outcome_of(messages, failed, limits, self._error, is_exact=is_exact, never_sent=never_sent)

    def _error(self, error: Any, topic: str) -> MstreamError:
        if isinstance(error, TypeError | ValueError):
            return RecordRefused(f"{self._service.named(f'topic {topic!r}')}: the client cannot write its headers")
        return self._service.record_error(error, f"topic {topic!r}")


@asynccontextmanager
async def open_sink(live: KafkaService, ref: SinkRef, options: KafkaSinkOptions) -> AsyncIterator[KafkaSink]:
    """A sink with a producer of its own; nothing is spoken to the cluster yet."""
    what = f"topic {ref.resource!r}"
    settings = client_options({**live.config.client_settings, **options.client_settings}, Client.PRODUCER)
    topics = Topics(live, options.create_topics)
    producing = Producing(live, settings, topics, what)
    maker = MessageMaker(ref.resource, options, live.named(what))
    try:
        async with background(producing.serve()):
            sink = KafkaSink(live, settings, maker, producing, topics)
            try:
                yield sink
            finally:
                await shielded(sink.close())
    finally:
        await shielded(producing.close())
