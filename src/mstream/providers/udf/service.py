"""Scripts of one service: where they are, and middlewares made of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mstream.domain.connector import MiddlewareRef
from mstream.errors import AccessDenied, MstreamError, ProviderUnavailable, ResourceMissing
from mstream.ports.roles import Middleware
from mstream.providers.udf.config import ScriptSource, UdfConfig, UdfOptions, unavailable
from mstream.providers.udf.middleware import ScriptMiddleware
from mstream.providers.udf.python import compiled


def pinned(config: UdfConfig, resources: Sequence[str]) -> UdfConfig:
    """The service with these of its files as texts: what changes on disk from now on is another version.

    Scripts in folders of the folder stay where they are, as do those that cannot be read.
    """
    service = UdfService(config)
    known = {each.filename for each in config.sources or ()}
    taken: list[ScriptSource] = []
    for name in sorted({*resources} - known):
        try:
            taken.append(ScriptSource(filename=name, content=service.text(name).decode("utf-8")))
        except (MstreamError, ValueError):
            continue
    return config.model_copy(update={"sources": (*(config.sources or ()), *taken)}) if taken else config


class UdfService:
    """A folder of scripts, and the scripts of the definition."""

    def __init__(self, config: UdfConfig) -> None:
        self._config = config

    def middleware(self, ref: MiddlewareRef, options: UdfOptions) -> Middleware:
        """Compiled once; raises ResourceMissing, AccessDenied or ScriptInvalid."""
        reason = unavailable(self._config)
        if reason is not None:
            message = f"service {self._config.name!r}: {reason}"
            raise ProviderUnavailable(message)
        script = compiled(self.text(ref.resource), name=ref.resource, service=self._config.name)
        return ScriptMiddleware(script, deadline_sec=options.deadline_ms / 1000)

    def text(self, resource: str) -> bytes:
        """The script as it stands now. Raises ResourceMissing or AccessDenied."""
        for each in self._config.sources or ():
            if each.filename == resource:
                return each.content.encode("utf-8")
        path = self._path(resource)
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            message = f"service {self._config.name!r}: there is no script {resource!r} in {self._config.script_path!r}"
            raise ResourceMissing(message) from None
        except OSError as error:
            message = f"service {self._config.name!r}: script {resource!r} cannot be read: {error.strerror}"
            raise AccessDenied(message) from error

    def _path(self, resource: str) -> Path:
        """Inside the service's folder, links followed; raises AccessDenied for a way out of it."""
        root = Path(self._config.script_path).resolve()
        try:
            path = (root / resource).resolve()
        except (ValueError, OSError, RuntimeError):
            path = None
        if path is None or not path.is_relative_to(root):
            message = (
                f"service {self._config.name!r}: script {resource!r} is outside of the folder "
                f"{self._config.script_path!r}; name a file inside of it"
            )
            raise AccessDenied(message)
        return path
