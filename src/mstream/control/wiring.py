"""Who writes a job's checkpoint: nobody, the owner, or a sink in its transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mstream.config.guarantees import delivery_plan
from mstream.config.system import System
from mstream.domain.connector import ConnectorSpec
from mstream.domain.run import CheckpointMode
from mstream.domain.service import ServiceConfig
from mstream.ports.provider import Catalog, provider_named


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What a run is told of its checkpoint."""

    mode: CheckpointMode
    resource: str = ""
    database: str = ""
    transactional_sink: int | None = None


#: A service's definition by its name; raises ServiceNotFound or ServiceError.
Lookup = Callable[[str], ServiceConfig]


def wiring(connector: ConnectorSpec, system: System, service: Lookup, catalog: Catalog) -> Wiring:
    """Decide it. Raises GuaranteeUnavailable when the wiring cannot give what the connector asks for."""
    place = system.place("checkpoints")
    configs = {name: service(name) for name in connector.service_names}
    kept_in = service(place.service_name) if place else None
    plan = delivery_plan(connector, configs, catalog, kept_in)
    if place is None or kept_in is None or (connector.checkpoint is not None and not connector.checkpoint.enabled):
        return Wiring(mode=CheckpointMode.OFF)
    if plan.transactional_sink is None:
        return Wiring(mode=CheckpointMode.SAVED, resource=place.resource)
    return Wiring(
        mode=CheckpointMode.IN_SOURCE if plan.in_source else CheckpointMode.TRANSACTIONAL,
        resource=place.resource,
        database=provider_named(catalog, kept_in.provider).database(kept_in),
        transactional_sink=plan.transactional_sink,
    )
