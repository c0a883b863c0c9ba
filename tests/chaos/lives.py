"""Processes of the program as a harness sees them: born, spoken to, killed, and gone."""

from __future__ import annotations

import contextlib
import http.client
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from tests.chaos.killed_program import Order, perform
from tests.chaos.processes import Process, children, identified

#: Seconds; many times what a busy machine needs.
PATIENCE = 90.0

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "tests.chaos.killed_program",
        "mstream.providers.sql.documents",
        "mstream.providers.file.source",
        "mstream.providers.file.sink",
        "sqlalchemy.dialects.sqlite",
        "sqlalchemy.dialects.postgresql.psycopg",
        "uvicorn.protocols.http.h11_impl",
        "uvicorn.lifespan.off",
        "uvicorn.loops.asyncio",
    ]
)
#: The forking of a process is not made for several threads at once.
_FORKING = threading.Lock()


class Ended(AssertionError):
    """The program ended while something was expected of it."""


class Life:
    """One process, from its birth to its end."""

    def __init__(self, order: Order, *, is_fresh: bool = False) -> None:
        """`is_fresh`: as a command of its own, with nothing imported, and with no write that it dies at."""
        self.order = order
        self._address: str | None = None
        self._forked: multiprocessing.process.BaseProcess | None = None
        self._fresh: subprocess.Popen[bytes] | None = None
        if is_fresh:
            command = [sys.executable, "-m", "mstream", "run", "--config", order.config]
            with order.log.open("ab") as log:
                self._fresh = subprocess.Popen(
                    command, cwd=order.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
        else:
            with _FORKING:
                self._forked = _FORKS.Process(target=perform, args=(order,), daemon=True)
                self._forked.start()

    @property
    def pid(self) -> int:
        found = self._fresh.pid if self._fresh else self._forked.pid if self._forked else None
        assert found is not None, "not started"
        return found

    @property
    def code(self) -> int | None:
        """How it ended: an exit code, a negative signal; None: it lives."""
        if self._fresh:
            return self._fresh.poll()
        assert self._forked is not None
        with _FORKING:
            return self._forked.exitcode

    @property
    def was_killed(self) -> bool:
        return self.code == -signal.SIGKILL

    @property
    def log(self) -> str:
        return self.order.log.read_text(errors="replace") if self.order.log.exists() else ""

    @property
    def killed_at(self) -> str | None:
        """The write at which it has killed itself."""
        found = re.findall(r"^killed (?:before|after) write \d+: (.*)$", self.log, re.MULTILINE)
        return str(found[-1]) if found else None

    def workers(self) -> list[Process]:
        """Its children."""
        return [identified(each) for each in children(self.pid)]

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.ended()

    def terminate(self) -> None:
        """SIGTERM."""
        os.kill(self.pid, signal.SIGTERM)

    def ended(self, seconds: float = PATIENCE) -> int:
        """Its code, once it has ended."""
        until(lambda: self.code is not None, f"process {self.pid} ends", seconds, pause=0.002)
        code = self.code
        assert code is not None
        return code

    def ready(self) -> bool:
        """Returns when the program is ready: True; or when it was killed before: False."""
        until(lambda: self.was_killed or self._is_ready(), lambda: f"the program is ready:\n{self.log[-3000:]}")
        return not self.was_killed

    def ask(self, method: str, *path: str, who: str = "harness", body: Any = None, wait: float = 0) -> tuple[int, Any]:
        """Status and answer. Raises OSError or HTTPException when it is killed meanwhile, Ended when it ends."""
        target = "/" + "/".join(quote(each, safe="") for each in path) + (f"?wait={wait:g}" if wait else "")
        host = self.address().removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=PATIENCE)
        try:
            headers: Mapping[str, str] = {"Mstream-Actor": who, "Content-Type": "application/json"}
            connection.request(method, target, None if body is None else json.dumps(body), dict(headers))
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"null")
        except (OSError, http.client.HTTPException):
            if self.code is not None and not self.was_killed:
                message = (
                    f"it ended by itself with {self.code} while it was asked {method} {target}:\n{self.log[-3000:]}"
                )
                raise Ended(message) from None
            raise
        finally:
            connection.close()

    def address(self) -> str:
        """Where its API answers. Raises OSError when it does not say so before it ends."""
        while self._address is None:
            if found := re.search(r"event=api_listening .*address=(http://\S+)", self.log):
                self._address = found[1]
            elif self.code is not None:
                raise ConnectionError
            else:
                time.sleep(0.005)
        return self._address

    def _is_ready(self) -> bool:
        if self.code is not None and not self.was_killed:
            message = f"it ended with {self.code} instead of becoming ready:\n{self.log[-3000:]}"
            raise Ended(message)
        if "event=program_ready" not in self.log:
            return False
        try:
            return self.ask("GET", "health", "ready")[0] == HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False


def until(
    holds: Callable[[], object], what: str | Callable[[], str], seconds: float = PATIENCE, *, pause: float = 0.01
) -> None:
    """Wait for it; raises AssertionError."""
    ends = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > ends:
            message = f"not within {seconds:g} s: {what if isinstance(what, str) else what()}"
            raise AssertionError(message)
        time.sleep(pause)
