"""Where records go that will never be delivered: the store's collection, or a sink."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from mstream.domain.batch import Batch, Encoding, Form
from mstream.domain.checkpoint import Lane, Position
from mstream.domain.dead_letter import DeadLetter
from mstream.domain.run import RunSpec
from mstream.engine.delivery import Deliverer
from mstream.engine.transforms import Prepared, Refusal
from mstream.errors import RecordRefused
from mstream.foundation.clock import Clock, timestamp
from mstream.ports.encoding import Codec
from mstream.ports.owner import Owner
from mstream.ports.roles import Source


class DeadLetters(Protocol):
    """A place for records that were given up."""

    async def bury(self, batch: Batch, refusals: Sequence[Refusal]) -> None:
        """Returns once they are safe there."""


class Letters:
    """Makes dead letters of refusals."""

    def __init__(self, spec: RunSpec, source: Source, clock: Clock) -> None:
        self._spec = spec
        self._source = source
        self._clock = clock

    def made(self, batch: Batch, refusals: Sequence[Refusal]) -> list[DeadLetter]:
        """One letter for each refusal, with the record as it came from the source."""
        return [self._letter(batch, each) for each in refusals]

    def _letter(self, batch: Batch, refusal: Refusal) -> DeadLetter:
        index = refusal.index
        lane = batch.lane_of(index)

        def cell(column: Sequence[Any] | None) -> Any:  # noqa: ANN401 - columns of several kinds
            return None if column is None else column[index]

        operation = cell(batch.operations)
        return DeadLetter(
            job=self._spec.job,
            run_id=self._spec.run_id,
            lane=lane,
            position=self._position(batch, index, lane),
            index=refusal.output,
            sink=refusal.sink,
            stage=refusal.stage,
            error_code=refusal.error.code,
            error_message=str(refusal.error),
            attempts=refusal.attempts,
            payload=cell(batch.payloads),
            encoding=batch.encoding.value,
            record_key=cell(batch.keys),
            headers=dict(cell(batch.headers) or {}),
            operation=operation.value if operation else "insert",
            at=timestamp(self._clock.now()),
        )

    def _position(self, batch: Batch, index: int, lane: Lane) -> Position:
        return self._source.positions(batch, index + 1).get(lane)


class OwnersDeadLetters:
    """The dead-letter collection of the store; the owner writes it."""

    def __init__(self, letters: Letters, owner: Owner) -> None:
        self._letters = letters
        self._owner = owner

    async def bury(self, batch: Batch, refusals: Sequence[Refusal]) -> None:
        """Returns once the owner has stored them. Raises DeadLettersFull."""
        await self._owner.bury(self._letters.made(batch, refusals))


class SinkDeadLetters:
    """A sink of any service; letters are written as documents."""

    def __init__(self, letters: Letters, deliverer: Deliverer, codec: Codec, sequence: Callable[[], int]) -> None:
        self._letters = letters
        self._deliverer = deliverer
        self._codec = codec
        self._sequence = sequence
        #: Every sink and step of the run may bury at the same time; the sink takes one write after the other.
        self._burying = asyncio.Lock()

    async def bury(self, batch: Batch, refusals: Sequence[Refusal]) -> None:
        """Returns once the sink has them. Raises RecordRefused when it does not take one."""
        documents = [as_document(each) for each in self._letters.made(batch, refusals)]
        letters = Batch(documents=documents, encoding=Encoding.JSON)
        if self._deliverer.sink.accepts is Form.PAYLOADS:
            payloads, failures = self._codec.encode(documents)
            if failures:
                raise failures[0].error
            letters = Batch(payloads=payloads, encoding=Encoding.JSON)
        async with self._burying:
            refused = await self._deliverer.deliver(self._sequence(), Prepared(batch=letters, origins=None))
        if refused:
            message = f"the sink for dead letters refused one: {refused[0].error}"
            raise RecordRefused(message)


def as_document(letter: DeadLetter) -> Mapping[str, Any]:
    """A letter as JSON values: bytes as text where they are UTF-8, else in base64 under `<name>_base64`."""
    document = asdict(letter)
    for name in ("payload", "record_key"):
        value = document.pop(name)
        try:
            document[name] = None if value is None else value.decode()
        except UnicodeDecodeError:
            document[f"{name}_base64"] = base64.b64encode(value).decode()
    return document
