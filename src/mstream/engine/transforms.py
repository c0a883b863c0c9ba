"""Apply middlewares and encodings to a batch; keep which input each output came from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from mstream.domain.batch import Batch, Encoding, Form, rejoined
from mstream.encodings import read_keys
from mstream.engine.attempts import Retry, persistently
from mstream.engine.meter import StagePage
from mstream.engine.schemas import Schemas
from mstream.engine.stages import Encodings, Stage, Way
from mstream.errors import DecodeError, MstreamError
from mstream.foundation.clock import Clock
from mstream.ports.roles import Failure, Middleware, Transformed

#: What is in hand stays in the processor's cache: a tenth faster than whole batches, a fifth than slices of 100.
SLICE = 500
#: Slices between two turns of the loop, so that heartbeats of neighbours stay quick.
_TURN = 2

Origins = Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One record that will not be delivered, counted in the batch as it was read."""

    index: int
    error: MstreamError
    #: Where it happened: "decode", "encode", "sink" or "middleware", with the service's name.
    stage: str
    sink: int | None = None
    #: Which of the outputs of its input it was.
    output: int = 0
    attempts: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What one sink is to be given."""

    batch: Batch
    #: For each record the input it came from; None: each its own.
    origins: Origins | None

    def origin(self, index: int) -> int:
        """The input that a record came from."""
        return index if self.origins is None else self.origins[index]

    def output(self, index: int) -> int:
        """Which of the outputs of its input a record is."""
        return 0 if self.origins is None else index - self.origins.index(self.origins[index])


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A middleware in its place."""

    name: str
    middleware: Middleware
    #: What leaves it.
    output: Stage
    #: How long it may block the loop for one batch; None: it does not.
    deadline_sec: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """What a sink reads."""

    form: Form
    stage: Stage


class Transforms:
    """From what a source gave to what each sink reads."""

    def __init__(
        self,
        *,
        way: Way,
        steps: Sequence[Step],
        wants: Sequence[Want],
        encodings: Encodings,
        page: StagePage,
        clock: Clock,
        retry: Callable[[str], Retry],
        schemas: Schemas | None = None,
    ) -> None:
        """`schemas`: what knows those that payloads name."""
        self._arrival = way.arrival
        self._keys = way.keys
        self._source = way.source
        self._steps = steps
        self._wants = wants
        self._encodings = encodings
        self._page = page
        self._clock = clock
        self._retry = retry
        self._schemas = schemas or Schemas()

    async def apply(self, batch: Batch) -> tuple[list[Prepared], list[Refusal]]:
        """For each sink its batch, and the inputs that were refused on the way."""
        if self._untouched(batch):
            return [Prepared(batch=batch, origins=None) for _ in self._wants], []
        await self._schemas.learn(self._arrival.schema, batch.payloads or (), self._retry, self._clock)
        await self._schemas.learn(self._keys, batch.keys or (), self._retry, self._clock)
        batch = replace(batch, marks=None)  # the source answers from the batch as it was read
        spent = dict.fromkeys(range(len(self._steps)), 0.0)
        pieces = list(batch.slices(SLICE))
        parts: list[list[Prepared]] = []
        refusals: list[Refusal] = []
        start = 0
        for number, piece in enumerate(pieces):
            if number and number % _TURN == 0:
                await asyncio.sleep(0)
            prepared, refused = await self._apply_slice(piece, start, spent)
            parts.append(prepared)
            refusals += refused
            start += len(piece)
        return [_joined(batch, pieces, [part[sink] for part in parts]) for sink in range(len(self._wants))], refusals

    def _untouched(self, batch: Batch) -> bool:
        """No step looks inside and every sink takes the bytes as they came."""
        if not len(batch):
            return True
        return (
            not self._steps
            and (self._keys is None or batch.keys is None)
            and batch.payloads is not None
            and batch.encoding is self._arrival.encoding
            and self._arrival.holds(self._source)
            and all(want.form is Form.PAYLOADS and self._arrival.holds(want.stage) for want in self._wants)
        )

    async def _apply_slice(
        self, piece: Batch, start: int, spent: dict[int, float]
    ) -> tuple[list[Prepared], list[Refusal]]:
        refusals: list[Refusal] = []
        origins: Origins = range(start, start + len(piece))
        here = self._arrival if piece.encoding is self._arrival.encoding else Stage(encoding=piece.encoding)
        if self._keys is not None and piece.keys is not None:
            keys, failures = read_keys(self._encodings.schemas[self._keys], piece.keys)
            piece, origins = _kept(replace(piece, keys=keys), origins, failures, refusals)
        piece, origins, here = self._converted(piece, origins, here, self._source, refusals)
        for number, step in enumerate(self._steps):
            piece, origins = self._in_form(piece, origins, here, step.middleware.accepts, refusals)
            if here.encoding is Encoding.AVRO and piece.documents is not None:
                piece = replace(piece, payloads=None)  # a middleware could not read them again by itself
            piece, origins, here = await self._step(number, step, piece, origins, here, refusals, spent)
        prepared: dict[Want, Prepared] = {}
        for sink, want in enumerate(self._wants):
            if want not in prepared:
                found: list[Refusal] = []
                prepared[want] = self._for_sink(want, piece, origins, here, found)
                refusals += [replace(each, sink=sink) for each in found]
        return [prepared[want] for want in self._wants], refusals

    async def _step(
        self,
        number: int,
        step: Step,
        piece: Batch,
        origins: Origins,
        here: Stage,
        refusals: list[Refusal],
        spent: dict[int, float],
    ) -> tuple[Batch, Origins, Stage]:
        if not len(piece):
            return replace(piece, encoding=step.output.encoding), origins, step.output
        what = f"middleware {step.name}"
        made = await persistently(lambda: self._attempt(number, step, piece, spent), lambda: self._retry(what))
        refusals += [Refusal(index=origins[each.index], error=each.error, stage=what) for each in made.failures]
        if made.origins is not None:
            origins = [origins[each] for each in made.origins]
        here = here.after_step(made.batch.encoding)
        return self._converted(made.batch, origins, here, step.output, refusals)

    async def _attempt(self, number: int, step: Step, piece: Batch, spent: dict[int, float]) -> Transformed:
        began = self._clock.monotonic()
        if step.deadline_sec is not None:
            self._page.busy(step.name, max(0.0, step.deadline_sec - spent[number]))
        try:
            return await step.middleware.apply(piece)
        finally:
            if step.deadline_sec is not None:
                self._page.idle()
            spent[number] += self._clock.monotonic() - began

    def _for_sink(self, want: Want, piece: Batch, origins: Origins, here: Stage, refusals: list[Refusal]) -> Prepared:
        piece, origins, here = self._converted(piece, origins, here, want.stage, refusals)
        piece, origins = self._in_form(piece, origins, here, want.form, refusals)
        return Prepared(batch=piece, origins=origins)

    def _in_form(
        self, piece: Batch, origins: Origins, here: Stage, form: Form, refusals: list[Refusal]
    ) -> tuple[Batch, Origins]:
        return (
            self._decoded(piece, origins, here, refusals)
            if form is Form.DOCUMENTS
            else self._encoded(piece, origins, here, refusals)
        )

    def _converted(
        self, piece: Batch, origins: Origins, here: Stage, there: Stage, refusals: list[Refusal]
    ) -> tuple[Batch, Origins, Stage]:
        """Records that are there already stay the very same bytes."""
        if not len(piece):
            return replace(piece, encoding=there.encoding), origins, there
        if here.holds(there):
            return piece, origins, here
        if here.encoding is Encoding.AVRO and there.schema not in {None, here.schema}:
            # By one schema, and then by the other.
            piece, origins = self._decoded(piece, origins, here, refusals)
            here = replace(here, schema=there.schema)
            piece, origins = self._encoded(replace(piece, payloads=None), origins, here, refusals)
            if here.holds(there):
                return piece, origins, there
        conversion = self._encodings.conversion(here, there)
        if conversion is None:
            piece, origins = self._decoded(piece, origins, here, refusals)
            return replace(piece, payloads=None, encoding=there.encoding), origins, there
        payloads, failures = (
            conversion.of_payloads(piece.payloads or [])
            if piece.documents is None
            else conversion.of_documents(piece.documents)
        )
        piece = replace(piece, payloads=payloads, documents=None, encoding=there.encoding)
        return *_kept(piece, origins, failures, refusals), there

    def _decoded(self, piece: Batch, origins: Origins, here: Stage, refusals: list[Refusal]) -> tuple[Batch, Origins]:
        if piece.documents is not None or not len(piece):
            return piece, origins
        documents, failures = self._encodings.codec(here).decode(piece.payloads or [])
        return _kept(replace(piece, documents=documents), origins, failures, refusals)

    def _encoded(self, piece: Batch, origins: Origins, here: Stage, refusals: list[Refusal]) -> tuple[Batch, Origins]:
        if piece.payloads is not None or not len(piece):
            return piece, origins
        payloads, failures = self._encodings.codec(here).encode(piece.documents or [])
        # Documents that nobody reads any more go while they are still in the processor's cache.
        return _kept(replace(piece, payloads=payloads, documents=None), origins, failures, refusals)


def _kept(
    piece: Batch, origins: Origins, failures: Sequence[Failure], refusals: list[Refusal]
) -> tuple[Batch, Origins]:
    if not failures:
        return piece, origins
    refusals += [Refusal(index=origins[each.index], error=each.error, stage=_stage(each)) for each in failures]
    gone = {each.index for each in failures}
    return piece.without(gone), [origin for index, origin in enumerate(origins) if index not in gone]


def _stage(failure: Failure) -> str:
    return "decode" if isinstance(failure.error, DecodeError) else "encode"


def _joined(whole: Batch, pieces: Sequence[Batch], parts: Sequence[Prepared]) -> Prepared:
    batch, count = rejoined(whole, pieces, [each.batch for each in parts]), len(whole)
    # Where every record became one, each part still has the range that it began with.
    if len(batch) == count and all(isinstance(each.origins, range) for each in parts):
        return Prepared(batch=batch, origins=None)
    origins = list(chain.from_iterable(each.origins or () for each in parts))
    is_plain = len(origins) == count and origins == list(range(count))
    return Prepared(batch=batch, origins=None if is_plain else origins)
