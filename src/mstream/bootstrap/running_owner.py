"""The program that owns a store and runs, as commands beside it speak to it: over its API."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import socket
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

from mstream.domain.audit import Actor
from mstream.domain.lease import Tenure
from mstream.errors import MstreamError, Unavailable, UsageError
from mstream.foundation.processes import Sighting, sighted, this_process
from mstream.foundation.secrets import redacted
from mstream.runtimes.faults import error_of
from mstream.runtimes.messages import Fault

#: Seconds that an answer may take: a command may wait for a job to drain.
_PATIENCE: Final = 330.0
#: Seconds in which an owner says that it is there.
_NEAR: Final = 10.0
#: Bytes of an answer that are read at most.
_LARGEST: Final = 64 * 1024 * 1024


class RunningOwner:
    """One owner at its address; errors come back as they were raised there."""

    def __init__(self, address: str, name: str) -> None:
        self._address = address.rstrip("/")
        #: Who it is, for people.
        self.name = name
        # What a proxy is set for is elsewhere; the owner is on this machine.
        self._opener = build_opener(ProxyHandler({}))

    async def ask(
        self, method: str, *path: str, body: Mapping[str, Any] | None = None, patience: float = _PATIENCE
    ) -> Any:  # noqa: ANN401 - any JSON
        """What it answers. Raises the owner's error, or Unavailable."""
        return await asyncio.to_thread(self._asked, method, path, body, patience)

    def _asked(self, method: str, path: tuple[str, ...], body: Mapping[str, Any] | None, patience: float) -> Any:  # noqa: ANN401 - any JSON
        headers = {"Mstream-Actor": operator().who}
        if body is not None:
            headers["Content-Type"] = "application/json"
        request = Request(  # noqa: S310 - of http or https: see `running`
            "/".join([self._address, *(quote(each, safe="") for each in path)]),
            data=None if body is None else json.dumps(body).encode(),
            headers=headers,
            method=method,
        )
        try:
            with self._opener.open(request, timeout=patience) as answer:
                return json.loads(answer.read(_LARGEST) or b"null")
        except HTTPError as error:
            with error:
                raise self._told(error.read(_LARGEST), error.code) from None
        except (URLError, HTTPException, OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            raise Unavailable(f"{self.name} does not answer: {reason}") from None

    def _told(self, text: bytes, status: int) -> MstreamError:
        try:
            body = json.loads(text)
            fault = Fault(code=str(body["error"]["code"]), message=str(body["message"]))
        except (ValueError, TypeError, KeyError):
            return Unavailable(f"{self.name} answers {status}; is it another program?")
        return error_of(fault)


async def running(owner: Tenure | None, url: str | None = None) -> RunningOwner | None:
    """The owner's API; None: nobody is there to be asked, and the lease decides. `url`: where it is instead.

    Raises Unavailable for an owner on this machine that lives and does not answer, UsageError for what is no URL.
    """
    if url is not None:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"--url must begin with http:// or https://, and {redacted(url)!r} does not")
        return RunningOwner(url, f"the instance at {redacted(url)}")
    if owner is None or not owner.identity.address or owner.identity.process.host != socket.gethostname():
        return None
    seen = sighted(owner.identity.process, this_process())
    if seen in {Sighting.GONE, Sighting.STOPPED}:
        # Somebody else may answer at its address by now.
        return None
    found = RunningOwner(owner.identity.address, f"the owner of the store, {owner.owner},")
    try:
        await found.ask("GET", "health", "live", patience=_NEAR)
    except Unavailable:
        if seen is Sighting.RUNNING:
            raise
        return None
    return found


def operator() -> Actor:
    """Who runs the command."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return Actor(who=user, where=socket.gethostname())
