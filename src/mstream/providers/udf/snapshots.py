"""Documents as they were before a script had them, for the case that it fails half-way."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

from mstream.domain.batch import Batch, Document
from mstream.encodings import codec_for


class Snapshot:
    """Costs nothing where the batch still has its payloads: they are decoded again."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._copy = None if batch.payloads is not None else _copied(batch.documents or [])

    def documents(self) -> Sequence[Document] | None:
        """They, anew; None: they cannot be copied."""
        if self._batch.payloads is not None:
            documents, failures = codec_for(self._batch.encoding).decode(self._batch.payloads)
            return None if failures else documents
        if self._copy is None:
            return None
        copied: list[Document] = pickle.loads(self._copy)  # noqa: S301 - made below, in this process
        return copied


def _copied(documents: Sequence[Document]) -> bytes | None:
    """Plain values, several times as fast as a deep copy; None where a script has put in what cannot be copied."""
    try:
        return pickle.dumps(documents, pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError):
        return None
