"""The middlewares in the hands of the conformance suite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mstream.domain.batch import Batch, Form
from mstream.domain.connector import MiddlewareRef
from mstream.errors import RecordRefused
from mstream.ports.provider import role_options
from mstream.ports.roles import Failure, Middleware, Transformed
from mstream.providers.udf import PROVIDER
from mstream.providers.udf.config import Engine, UdfConfig
from tests.contracts.middleware_checks import MARK, REFUSE, REPEAT

_ONE_BY_ONE = {
    MARK: "def transform(data, attributes):\n    data['seen'] = True\n    return data\n",
    REPEAT: "def transform(data):\n    return [data] * data['times']\n",
    REFUSE: "def transform(data):\n    if data['refuse']:\n        raise ValueError(data)\n    return data\n",
}
_TOGETHER = {
    MARK: "def transform_batch(records):\n    for each in records:\n        each['seen'] = True\n    return records\n",
    REPEAT: "def transform_batch(records):\n    return [[each] * each['times'] for each in records]\n",
    REFUSE: (
        "def transform_batch(records):\n"
        "    for each in records:\n"
        "        if each['refuse']:\n"
        "            raise ValueError(each)\n"
        "    return records\n"
    ),
}


class ScriptHarness:
    """A Python script; `transform` is called for each record."""

    can_block = True
    scripts = _ONE_BY_ONE

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._config = UdfConfig(name="scripts", script_path=str(folder), engine=Engine(kind="python"))

    @asynccontextmanager
    async def open(self, behaviour: str, **options: Any) -> AsyncIterator[Middleware]:
        (self._folder / f"{behaviour}.py").write_text(self.scripts[behaviour], encoding="utf-8")
        assert PROVIDER.middleware is not None
        ref = MiddlewareRef(service_name="scripts", resource=f"{behaviour}.py", **options)
        role = role_options(PROVIDER.middleware.options, self._config, ref)
        async with PROVIDER.connect(self._config) as live, PROVIDER.middleware.open(live, ref, role) as middleware:
            yield middleware

    def shown(self) -> str:
        return f"{self._config!r} {self._config.shown()}"


class BatchScriptHarness(ScriptHarness):
    """The same with `transform_batch`."""

    scripts = _TOGETHER


class Plain:
    """The contract in a few lines: what every middleware is measured by, and wrong ones are made of."""

    accepts = Form.DOCUMENTS

    def __init__(self, change: Callable[[Any], list[Any]], deadline_sec: float) -> None:
        self._change = change
        self.deadline_sec = deadline_sec

    async def apply(self, batch: Batch) -> Transformed:
        """As `ports.roles.Middleware`."""
        outputs: list[Any] = []
        origins: list[int] = []
        failures: list[Failure] = []
        for index, document in enumerate(batch.documents or ()):
            try:
                made = [None] if document is None else self._change(document)
            except RecordRefused as error:
                failures.append(Failure(index=index, error=error))
                continue
            outputs += made
            origins += [index] * len(made)
        return Transformed(batch=_with(batch.pick(origins), outputs), origins=origins, failures=failures)


def _with(batch: Batch, documents: list[Any]) -> Batch:
    return Batch(
        documents=documents,
        encoding=batch.encoding,
        keys=batch.keys,
        headers=batch.headers,
        operations=batch.operations,
        times=batch.times,
        lanes=batch.lanes,
        positions=batch.positions,
    )


class PlainHarness:
    """The plain middleware; needs no folder."""

    can_block = True

    def __init__(self, folder: Path | None = None) -> None:
        pass

    @asynccontextmanager
    async def open(self, behaviour: str, deadline_ms: int = 30_000) -> AsyncIterator[Middleware]:
        yield self.wrapped(Plain(_CHANGES[behaviour], deadline_ms / 1000))

    def wrapped(self, middleware: Plain) -> Middleware:
        """The middleware itself; wrong ones are made here."""
        return middleware

    def shown(self) -> str:
        return "plain"


def _refuse(document: Any) -> list[Any]:
    if document["refuse"]:
        message = "it asks to be refused"
        raise RecordRefused(message)
    return [document]


_CHANGES: dict[str, Callable[[Any], list[Any]]] = {
    MARK: lambda document: [{**document, "seen": True}],
    REPEAT: lambda document: [document] * document["times"],
    REFUSE: _refuse,
}
