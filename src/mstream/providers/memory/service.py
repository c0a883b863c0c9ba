"""Live objects: named queues and documents, and the hub that keeps them."""

from __future__ import annotations

from mstream.providers.memory.documents import MemoryDocuments
from mstream.providers.memory.queue import MemoryQueue


class MemoryService:
    """The live object: queues by name, made when first asked for, and documents."""

    def __init__(self) -> None:
        self.documents = MemoryDocuments()
        self._queues: dict[str, MemoryQueue] = {}

    def queue(self, name: str) -> MemoryQueue:
        """The queue of that name."""
        return self._queues.setdefault(name, MemoryQueue())


class MemoryHub:
    """Services by name, for whoever wants to hold what a connector opens by name."""

    def __init__(self) -> None:
        self._services: dict[str, MemoryService] = {}

    def service(self, name: str) -> MemoryService:
        """The service of that name, the same for every connection."""
        return self._services.setdefault(name, MemoryService())
