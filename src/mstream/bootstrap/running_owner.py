"""The program that owns a store and runs, as commands beside it speak to it: over its API."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import select
import socket
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from itertools import count
from threading import Event
from typing import Any, Final
from urllib.parse import quote, urlsplit

from mstream.domain.audit import Actor
from mstream.domain.lease import Tenure
from mstream.errors import MstreamError, Unavailable, UsageError
from mstream.foundation.processes import Sighting, sighted, this_process
from mstream.foundation.secrets import redacted
from mstream.runtimes.faults import error_of
from mstream.runtimes.messages import Fault

#: Seconds in which an owner says that it is there, and in which it goes on with an answer that it has begun.
_NEAR: Final = 10.0
#: Seconds between two glances at an answer that takes long, and glances from one word about it to the next.
_GLANCE: Final = 0.25
_GLANCES: Final = 20
#: Bytes of an answer that are read at most.
_LARGEST: Final = 64 * 1024 * 1024

#: Tells whoever waits, in a sentence, what for.
Tell = Callable[[str], None]


class RunningOwner:
    """One owner at its address; errors come back as they were raised there."""

    def __init__(self, address: str, name: str, tell: Tell, *, glance: float = _GLANCE) -> None:
        self._glance = glance
        self._address = address.rstrip("/")
        #: Who it is, for people.
        self.name = name
        self._tell = tell

    async def ask(self, method: str, *path: str, body: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - any JSON
        """What it answers, however long it works on that. Raises the owner's error, or Unavailable."""
        given_up = Event()
        try:
            return await asyncio.to_thread(self._asked, method, path, body, given_up)
        finally:
            given_up.set()

    async def live(self) -> Mapping[str, Any]:
        """What it says of itself at once. Raises Unavailable."""
        answer = await asyncio.to_thread(self._live)
        return answer if isinstance(answer, Mapping) else {}

    def _live(self) -> Any:  # noqa: ANN401 - any JSON
        return self._asked("GET", ("health", "live"), None, Event(), limit=_NEAR)

    def _asked(
        self,
        method: str,
        path: tuple[str, ...],
        body: Mapping[str, Any] | None,
        given_up: Event,
        *,
        limit: float | None = None,
    ) -> Any:  # noqa: ANN401 - any JSON
        # A name may have any letters, a header may not.
        headers = {"Mstream-Actor": quote(operator().who)}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            # What a proxy is set for is elsewhere; the owner is on this machine.
            url = urlsplit(self._address)
            kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
            connection = kind(url.netloc.rpartition("@")[2], timeout=_NEAR)
            try:
                target = "/".join([url.path, *(quote(each, safe="") for each in path)])
                connection.request(method, target, None if body is None else json.dumps(body).encode(), headers)
                self._await(connection.sock, given_up, limit)
                answer = connection.getresponse()
                text = answer.read(_LARGEST)
                if answer.status >= 300:  # noqa: PLR2004 - all that is no success
                    raise self._told(text, answer.status)
                return json.loads(text or b"null")
            finally:
                connection.close()
        except (HTTPException, OSError, ValueError) as error:
            raise Unavailable(f"{self.name} does not answer: {str(error) or type(error).__name__}") from None

    def _await(self, connection: socket.socket, given_up: Event, limit: float | None) -> None:
        """Returns when the answer has begun; without a limit for as long as the program says that it lives."""
        for glances in count(1):
            if select.select([connection], [], [], self._glance)[0]:
                return
            seconds = glances * self._glance
            if given_up.is_set() or (limit is not None and seconds >= limit):
                raise TimeoutError(f"nothing for {seconds:g} seconds")
            if limit is None and glances % _GLANCES == 0:
                self._live()
                self._tell(f"{self.name} is at work; waited for {seconds:g} seconds")

    def _told(self, text: bytes, status: int) -> MstreamError:
        try:
            body = json.loads(text)
            fault = Fault(code=str(body["error"]["code"]), message=str(body["message"]))
        except (ValueError, TypeError, KeyError):
            return Unavailable(f"{self.name} answers {status}; is it another program?")
        return error_of(fault)


async def running(
    owner: Tenure | None, url: str | None = None, *, tell: Tell = lambda text: None
) -> RunningOwner | None:
    """The owner's API; None: nobody is there to be asked, and the lease decides. `url`: where it is instead.

    Raises Unavailable for an owner on this machine that lives and does not answer, or in whose place another program
    does, UsageError for what is no URL.
    """
    if url is not None:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"--url must begin with http:// or https://, and {redacted(url)!r} does not")
        return RunningOwner(url, f"the instance at {redacted(url)}", tell)
    if owner is None or not owner.identity.address or owner.identity.process.host != socket.gethostname():
        return None
    seen = sighted(owner.identity.process, this_process())
    if seen in {Sighting.GONE, Sighting.STOPPED}:
        # Somebody else may answer at its address by now.
        return None
    found = RunningOwner(owner.identity.address, f"the owner of the store, {owner.owner},", tell)
    try:
        answering = (await found.live()).get("instance")
    except Unavailable:
        if seen is Sighting.RUNNING:
            raise
        # Of another container, or before the machine was started anew: it cannot be told from here.
        return None
    if answering == owner.identity.instance:
        return found
    if seen is Sighting.RUNNING:
        raise Unavailable(f"{found.name} does not answer: another program does at its address; say where with --url")
    return None


def operator() -> Actor:
    """Who runs the command."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return Actor(who=user, where=socket.gethostname())
