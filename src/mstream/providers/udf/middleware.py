"""Run a script over a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from mstream.domain.batch import Batch, Document, Form
from mstream.errors import ScriptInvalid
from mstream.ports.roles import Transformed
from mstream.providers.udf.outputs import Misreturned, Outputs
from mstream.providers.udf.python import SCRIPT_FAULTS, Script
from mstream.providers.udf.snapshots import Snapshot

_Attributes = dict[str, str]


class ScriptMiddleware:
    """A script in its place among the steps of a job.

    The script may change the documents that it is given. A record without a document (a tombstone) passes it by.
    """

    accepts = Form.DOCUMENTS

    def __init__(self, script: Script, *, deadline_sec: float) -> None:
        self._script = script
        #: How long the owner lets it block the worker for one batch.
        self.deadline_sec = deadline_sec

    async def apply(self, batch: Batch) -> Transformed:
        """As `ports.roles.Middleware`."""
        if batch.documents is None or not len(batch):
            return Transformed(batch=batch)
        if self._script.transform_batch is not None:
            return self._together(batch, batch.documents, self._script.transform_batch)
        if self._script.transform is None:
            message = f"script {self._script.name!r} has no entry function"
            raise ScriptInvalid(message)
        return self._one_by_one(batch, batch.documents, self._script.transform)

    def _one_by_one(self, batch: Batch, documents: Sequence[Document], transform: Callable[..., Any]) -> Transformed:
        outputs = Outputs(batch)
        headers = batch.headers
        pairs = self._script.takes_attributes
        made, origins = outputs.documents, outputs.origins
        for index, data in enumerate(documents):
            if data is None:
                outputs.keep(index)
                continue
            try:
                if pairs:
                    result = transform(data, {} if headers is None else dict(headers[index] or ()))
                else:
                    result = transform(data)
                if type(result) is dict:
                    made.append(result)
                    origins.append(index)
                else:
                    outputs.take(index, result)
            except Misreturned as error:
                outputs.refuse(index, self._script.misreturned("transform", error, _place(index, batch)))
            except SCRIPT_FAULTS as error:
                outputs.refuse(index, self._script.failed(error, _place(index, batch)))
        return outputs.transformed()

    def _together(self, batch: Batch, documents: Sequence[Document], transform: Callable[..., Any]) -> Transformed:
        given = [each for each in range(len(documents)) if documents[each] is not None] if None in documents else None
        records = list(documents) if given is None else [documents[each] for each in given]
        if not records:
            return Transformed(batch=batch)
        snapshot = Snapshot(batch)
        try:
            results = self._called(transform, records, self._attributes(batch, given))
        except SCRIPT_FAULTS as error:
            return self._culprits(batch, transform, snapshot, error)
        self._check(results, len(records))
        if given is None and set(map(type, results)) == {dict}:
            return Transformed(batch=replace(batch, documents=results, payloads=None))
        return self._sorted_out(batch, results, given)

    def _attributes(self, batch: Batch, given: Sequence[int] | None) -> list[_Attributes] | None:
        if not self._script.takes_attributes:
            return None
        headers = batch.headers or [None] * len(batch)
        return [dict(headers[each] or ()) for each in (range(len(batch)) if given is None else given)]

    @staticmethod
    def _called(transform: Callable[..., Any], records: list[Document], attributes: list[_Attributes] | None) -> Any:
        return transform(records) if attributes is None else transform(records, attributes)

    def _check(self, results: Any, count: int) -> None:
        """A script that answers for another number of records is wrong altogether: nobody knows which is which."""
        if isinstance(results, list) and len(results) == count:
            return
        given = f"a list of {len(results)}" if isinstance(results, list) else f"a {type(results).__name__}"
        message = (
            f"script {self._script.name!r}: transform_batch gave {given} for {count} records; "
            "it must give a list with one entry for each (None drops a record, a list makes several)"
        )
        raise ScriptInvalid(message)

    def _sorted_out(self, batch: Batch, results: Sequence[Any], given: Sequence[int] | None) -> Transformed:
        outputs = Outputs(batch)
        entries = dict(zip(range(len(batch)) if given is None else given, results, strict=True))
        for index in range(len(batch)):
            if index not in entries:
                outputs.keep(index)
                continue
            try:
                outputs.take(index, entries[index])
            except Misreturned as error:
                outputs.refuse(index, self._script.misreturned("transform_batch", error, _place(index, batch)))
        return outputs.transformed()

    def _culprits(
        self, batch: Batch, transform: Callable[..., Any], snapshot: Snapshot, error: BaseException
    ) -> Transformed:
        """Each record by itself, from the documents as they were, so that only the culprits are refused."""
        documents = snapshot.documents()
        outputs = Outputs(batch)
        for index in range(len(batch)):
            if documents is None:
                outputs.refuse(index, self._script.failed(error, f"one of {len(batch)} records"))
            elif documents[index] is None:
                outputs.keep(index)
            else:
                self._alone(outputs, batch, transform, documents[index], index)
        return outputs.transformed()

    def _alone(
        self, outputs: Outputs, batch: Batch, transform: Callable[..., Any], document: Document, index: int
    ) -> None:
        try:
            results = self._called(transform, [document], self._attributes(batch, [index]))
        except SCRIPT_FAULTS as error:
            outputs.refuse(index, self._script.failed(error, _place(index, batch)))
            return
        self._check(results, 1)
        try:
            outputs.take(index, results[0])
        except Misreturned as error:
            outputs.refuse(index, self._script.misreturned("transform_batch", error, _place(index, batch)))


def _place(index: int, batch: Batch) -> str:
    return f"record {index + 1} of {len(batch)}"
