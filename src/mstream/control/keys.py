"""Where the key ring comes from: a variable, a command or a file; and reading it again while it is in use."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

from mstream.config.system import System
from mstream.errors import KeyUnusable
from mstream.foundation.concurrency import shielded
from mstream.observability.logs import get_logger
from mstream.stores import key_file
from mstream.stores.encryption import KeyRing
from mstream.stores.key_check import KeyCheck

log = get_logger(__name__)

VARIABLE: Final = "MSTREAM_ENC_KEY"
DEFAULT_PATH: Final = "mstream.key"
#: Seconds that a command for the keys may take.
_LIMIT: Final = 30.0


class Origin(StrEnum):
    """What the keys are read from."""

    VARIABLE = "variable"
    COMMAND = "command"
    FILE = "file"


class KeySource:
    """The one place that the keys of this configuration come from."""

    def __init__(self, system: System, environ: Mapping[str, str], *, limit: float = _LIMIT) -> None:
        self._text = environ.get(VARIABLE)
        self._command = system.encryption_key_command
        self._limit = limit
        #: The key file, whether it is used or not.
        self.path = Path(system.encryption_key_path or DEFAULT_PATH)

    @property
    def origin(self) -> Origin:
        """The variable wins, then the command, then the file."""
        if self._text is not None:
            return Origin.VARIABLE
        return Origin.FILE if self._command is None else Origin.COMMAND

    def __str__(self) -> str:
        match self.origin:
            case Origin.VARIABLE:
                return f"the variable {VARIABLE}"
            case Origin.COMMAND:
                return f"the command {self._program!r}"
            case Origin.FILE:
                return f"the key file {str(self.path)!r}"

    async def read(self) -> KeyRing | None:
        """The ring; None: the key file is not there. Raises KeyUnusable."""
        match self.origin:
            case Origin.VARIABLE:
                return key_file.ring_of_text(self._text or "", where=str(self))
            case Origin.COMMAND:
                return key_file.ring_of(await self._printed(self._command or ()), where=str(self))
            case Origin.FILE:
                return key_file.read(self.path)

    @property
    def _program(self) -> str:
        """Without its arguments, which may be secrets themselves."""
        return (self._command or ("",))[0]

    async def _printed(self, command: Sequence[str]) -> bytes:
        """What the command writes; neither that nor its complaints are ever shown."""
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no valid command"
            raise KeyUnusable(f"{self} cannot be started: {reason}") from None
        try:
            async with asyncio.timeout(self._limit):
                output, _ = await process.communicate()
        except TimeoutError:
            raise KeyUnusable(f"{self} has printed no key within {self._limit:g} seconds") from None
        finally:
            await shielded(_ended(process))
        if process.returncode:
            raise KeyUnusable(f"{self} failed with exit code {process.returncode}; run it by hand to see why")
        return output


class LiveKeys:
    """The ring that is in use; implements `stores.services.Keys`."""

    def __init__(self, source: KeySource, check: KeyCheck, ring: KeyRing) -> None:
        self._source = source
        self._check = check
        self._ring = ring
        #: Set whenever another ring comes into use.
        self.changed = asyncio.Event()

    @property
    def ring(self) -> KeyRing:
        """As it was last read."""
        return self._ring

    def use(self, ring: KeyRing) -> None:
        """From now on this one."""
        if ring.ids != self._ring.ids:
            log.info("keys_changed", current=ring.current.id, older=list(ring.ids[1:]))
            self.changed.set()
        self._ring = ring

    async def reload(self) -> KeyRing:
        """Read the ring again; raises KeyUnusable, and uses the one before, when it is not the store's."""
        ring = await self._source.read()
        if ring is None:
            raise KeyUnusable(f"{self._source} is gone; put it back from your backup")
        await self._check.verified(ring)
        self.use(ring)
        return ring

    async def renew(self) -> None:
        """The same where nobody asked for it."""
        try:
            await self.reload()
        except KeyUnusable as error:
            log.warning("keys_not_reloaded", error_code=error.code, error=str(error))


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Nothing of the command outlives the question."""
    if process.returncode is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        await process.wait()
