"""What is shown of a service: its definition without secrets, its state, and who uses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mstream.config.system import BESIDE, RESOURCES, System
from mstream.domain.service import ServiceConfig
from mstream.stores.services import StoredDefinition


class ServiceStatus(StrEnum):
    """Whether jobs can use it."""

    READY = "ready"
    #: They cannot, and there is a reason.
    ERROR = "error"
    #: They could, but no job names it.
    UNUSED = "unused"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """A service as it is shown."""

    name: str
    #: None: its stored document cannot be read.
    config: ServiceConfig | None
    #: `file` or `api`.
    origin: str
    status: ServiceStatus
    reason: str | None
    used_by: Sequence[str]
    #: A store lives there.
    is_system: bool
    updated_at: str | None = None
    #: The token to change it with, if nobody else has done so meanwhile.
    revision: str | None = None

    @property
    def provider(self) -> str | None:
        """The name of its provider, if it is known."""
        return self.config.provider if self.config else None

    def as_document(self) -> dict[str, Any]:
        """Plain data, for JSON: an allow-list of fields, the others masked."""
        shown: dict[str, Any] = {"name": self.name} if self.config is None else self.config.shown()
        shown |= {
            "used_by_jobs": list(self.used_by),
            "is_system": self.is_system,
            "status": self.status.value,
            "origin": self.origin,
        }
        optional: dict[str, str | None] = {
            "reason": self.reason,
            "updated_at": self.updated_at,
            "revision": self.revision,
        }
        if self.config is not None:
            optional["script_version"] = self.config.script_version()
        return shown | {key: value for key, value in optional.items() if value is not None}


def view_of(
    name: str,
    config: ServiceConfig | None,
    stored: StoredDefinition | None,
    *,
    is_of_file: bool,
    is_system: bool,
    used_by: Sequence[str],
    reason: str | None,
) -> ServiceView:
    """`reason`: why it cannot be used; None: it can."""
    if reason is not None:
        status = ServiceStatus.ERROR
    else:
        status = ServiceStatus.READY if used_by or is_system else ServiceStatus.UNUSED
    return ServiceView(
        name=name,
        config=config,
        origin="file" if is_of_file else stored.origin if stored else "",
        status=status,
        reason=reason,
        used_by=used_by,
        is_system=is_system,
        updated_at=stored.updated_at if stored else None,
        revision=stored.defined_at if stored else None,
    )


def system_services(system: System) -> frozenset[str]:
    """The names of the services that host a store."""
    places = (system.place(each) for each in {*RESOURCES, *BESIDE})
    return frozenset(each.service_name for each in places if each is not None)
