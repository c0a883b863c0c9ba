"""Commands that speak to the program that runs, over real sockets."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from mstream.bootstrap.running_owner import RunningOwner, running
from mstream.domain.lease import Identity, Tenure
from mstream.errors import Conflict, Unavailable
from mstream.foundation.processes import this_process

#: Seconds; never waited for unless something is wrong.
PATIENCE = 20
GLANCE = 0.01


class Peer:
    """A program at an address, that answers what it is told to."""

    def __init__(self, answers: Callable[[str, str], tuple[int, Any]]) -> None:
        self.asked: list[tuple[str, str]] = []
        self.actors: list[str | None] = []
        peer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                peer.asked.append((self.command, self.path))
                peer.actors.append(self.headers["Mstream-Actor"])
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, body = answers(self.command, self.path)
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_POST = do_DELETE = do_GET  # noqa: N815 - the names that it is called by

            def log_message(self, *_: Any) -> None:
                """Nothing is said."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def peer(answers: Callable[[str, str], tuple[int, Any]]) -> Iterator[Peer]:
    it = Peer(answers)
    thread = threading.Thread(target=it.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield it
    finally:
        it.server.shutdown()
        thread.join()
        it.server.server_close()


def owner(address: str, told: list[str] | None = None) -> RunningOwner:
    return RunningOwner(address, "it", (told if told is not None else []).append, glance=GLANCE)


def tenure(address: str) -> Tenure:
    return Tenure(identity=Identity(instance="mine", process=this_process(), address=address), epoch=1, lease_sec=10)


async def test_an_answer_is_waited_for_as_long_as_the_program_lives_and_that_is_told() -> None:
    done, told = threading.Event(), list[str]()

    def answers(method: str, path: str) -> tuple[int, Any]:
        if path == "/apply":
            assert done.wait(PATIENCE)
            return 200, {"message": "done"}
        return 200, {"status": "live"}

    def tell(text: str) -> None:
        told.append(text)
        if len(told) == 3:
            done.set()

    with peer(answers) as it:
        answer = await RunningOwner(it.address, "it", tell, glance=GLANCE).ask("POST", "apply", body={"prune": True})

    assert answer == {"message": "done"}
    assert told[0] == "it is at work; waited for 0.2 seconds"
    assert it.asked[0] == ("POST", "/apply")


async def test_a_program_that_no_longer_says_that_it_lives_is_not_waited_for() -> None:
    done = threading.Event()

    def answers(method: str, path: str) -> tuple[int, Any]:
        if path == "/apply":
            done.wait(PATIENCE)
            return 200, None
        return 503, {"message": "no"}

    with peer(answers) as it:
        with pytest.raises(Unavailable, match="it answers 503"):
            await owner(it.address).ask("POST", "apply")
        done.set()


def test_whoever_gives_up_does_not_wait() -> None:
    began, done = threading.Event(), threading.Event()

    def answers(method: str, path: str) -> tuple[int, Any]:
        if path == "/apply":
            began.set()
            done.wait(PATIENCE)
        return 200, {}

    async def story(address: str) -> None:
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(owner(address).ask("POST", "apply"))
            assert await asyncio.to_thread(began.wait, PATIENCE)
            asking.cancel()

    with peer(answers) as it:
        # The loop's end waits for its threads.
        asyncio.run(story(it.address))
        assert not done.is_set()
        done.set()


async def test_errors_come_back_as_they_were_raised_there() -> None:
    with (
        peer(lambda method, path: (409, {"message": "so it is", "error": {"code": "conflict"}})) as it,
        pytest.raises(Conflict, match="so it is"),
    ):
        await owner(it.address).ask("POST", "apply")


@pytest.mark.parametrize("live", [{"status": "live", "instance": "another"}, {"status": "live"}, [], None])
async def test_another_program_at_the_owners_address_is_asked_for_nothing(live: Any) -> None:
    with peer(lambda method, path: (200, live)) as it:
        with pytest.raises(Unavailable, match=r"another program does at its address; say where with --url"):
            await running(tenure(it.address))

        assert it.asked == [("GET", "/health/live")]


async def test_the_owner_itself_is_found() -> None:
    with peer(lambda method, path: (200, {"status": "live", "instance": "mine"})) as it:
        assert await running(tenure(it.address)) is not None


async def test_who_commands_may_have_any_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "\u0416\u043e\u0440\u0430")

    with peer(lambda method, path: (200, None)) as it:
        await owner(it.address).ask("GET", "keys")

    assert it.actors == ["%D0%96%D0%BE%D1%80%D0%B0"]
