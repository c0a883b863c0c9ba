"""What a run needs of the services that its connector names."""

from __future__ import annotations

from typing import Any, Protocol

from mstream.domain.service import ServiceConfig
from mstream.ports.provider import Provider


class Services(Protocol):
    """Definitions, and live objects that are shared by the runs of a process."""

    def config(self, name: str) -> ServiceConfig:
        """The definition, references unresolved. Raises ServiceNotFound."""

    def provider(self, name: str) -> Provider[Any, Any]:
        """The descriptor of its provider. Raises ServiceNotFound or ProviderUnavailable."""

    async def live(self, name: str) -> Any:  # noqa: ANN401 - each provider has its own
        """The live object, opened at the first call. Raises a ServiceError."""
