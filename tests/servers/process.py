"""One server as a child process: own folder, own port, an account without rights, no life after ours."""

from __future__ import annotations

import ctypes
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, ClassVar

#: Below the range from which the kernel gives ports to clients: a stopped server finds its port free again.
_PORTS = range(20_000, 30_000)
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_SET_PARENT_DEATH_SIGNAL = 1

_libc = ctypes.CDLL(None, use_errno=True)


class ServerFailed(Exception):
    """The server did not come up; the text ends with what it logged."""


class ServerProcess:
    """A server that can be stopped, crashed and started again during a test; its data and port stay."""

    #: What asks this server to end in good order, and what ends it as a crash would.
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    crash_signal: ClassVar[signal.Signals] = signal.SIGKILL
    #: Accounts to run as when we are root, the first that exists; None: our own.
    accounts: ClassVar[Sequence[str] | None] = ("nobody",)

    def __init__(self, name: str, folder: Path | None = None) -> None:
        """`folder`: one that is there, perhaps with data; or else a new one."""
        self.folder = folder or Path(tempfile.mkdtemp(prefix=f"mstream-{name}-"))
        self.port = free_port()
        self.log = self.folder / "server.log"
        self._account = account_for(self.accounts)
        if self._account is not None:
            os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process_id(self) -> int:
        """Of the server itself; 0: it does not run."""
        return self._process.pid if self._process is not None else 0

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def command(self) -> list[str]:
        """The server's own command line; it stays in the foreground."""
        raise NotImplementedError

    def greet(self) -> None:
        """Connect once and leave; raises while the server is not ready."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, unless it runs, and wait until it answers."""
        if not self.is_running():
            self.launch()
            self.await_answer()

    def launch(self) -> None:
        """Start it, unless it runs, and wait for nothing."""
        if not self.is_running():
            with self.log.open("ab") as log:
                self._process = self._popen(self.command(), stdout=log)

    def await_answer(self) -> None:
        """Returns once it answers. Raises ServerFailed."""
        give_up = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.greet()
            except Exception as error:
                if self.is_running() and time.monotonic() < give_up:
                    time.sleep(0.05)
                    continue
                tail = self.log.read_text(errors="replace")[-2000:]
                message = f"{type(self).__name__} did not come up\n{tail}"
                raise ServerFailed(message) from error
            return

    def stop(self) -> None:
        """End it in good order: clients lose their connections, nothing else."""
        self._end(self.stop_signal)

    def crash(self) -> None:
        """End it at once, as a crash would; `start` recovers."""
        self._end(self.crash_signal)

    def restart(self) -> None:
        """Stop it and start it again: every connection is lost, the data stays."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """Stop it and leave nothing behind."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, command: Sequence[str]) -> None:
        """Run a tool of the server to its end, as the server's account."""
        process = self._popen(command, stdout=subprocess.PIPE)
        output, _ = process.communicate()
        if process.returncode != 0:
            message = f"{command[0]} ended with {process.returncode}\n{output.decode(errors='replace')[-2000:]}"
            raise ServerFailed(message)

    def _popen(self, command: Sequence[str], *, stdout: int | IO[bytes]) -> subprocess.Popen[bytes]:
        account = self._account
        return subprocess.Popen(
            command,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            user=None if account is None else account.pw_uid,
            group=None if account is None else account.pw_gid,
            extra_groups=None if account is None else [],
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": str(self.folder)},
            start_new_session=True,
            preexec_fn=dies_with_us(self.crash_signal),  # noqa: PLW1509 - nothing but one system call
        )

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def dies_with_us(how: signal.Signals) -> Callable[[], None]:
    """To be called in the child: it gets this signal when the thread that started it ends."""

    def arrange() -> None:
        _libc.prctl(_SET_PARENT_DEATH_SIGNAL, int(how))

    return arrange


def account_for(names: Sequence[str] | None) -> pwd.struct_passwd | None:
    """The account to run a server as; None = our own. Database servers refuse to run as root."""
    if names is None or os.geteuid() != 0:
        return None
    known = {each.pw_name: each for each in pwd.getpwall()}
    return next(known[name] for name in (*names, "nobody") if name in known)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    # Not the seeded generator: two sessions with the same seed would choose the same ports.
    choose = random.SystemRandom()
    while True:
        port = choose.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def find_program(names: Sequence[str], folders: Sequence[Path] = ()) -> Path | None:
    """The first program of these names: on the path, in the folders of administrators, or in the given ones."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/libexec", *map(str, folders)))
    found = (shutil.which(name, path=path) for name in names)
    return next((Path(each) for each in found if each), None)
