"""Which delivery, and how many members, a connector's wiring can give; pure, no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mstream.domain.connector import ConnectorSpec, Delivery, SinkRef, SourceRef
from mstream.domain.service import ServiceConfig
from mstream.errors import GuaranteeUnavailable, ServiceNotFound
from mstream.ports.provider import Catalog, provider_named, role_options


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPlan:
    """How a run keeps its promise about repeats."""

    #: The place of the sink that commits the checkpoint with its records; None: the owner saves it.
    transactional_sink: int | None = None
    #: It commits in the source's own system.
    in_source: bool = False


def delivery_plan(
    connector: ConnectorSpec,
    configs: Mapping[str, ServiceConfig],
    catalog: Catalog,
    checkpoint_service: ServiceConfig | None,
) -> DeliveryPlan:
    """How this connector gives the delivery that it asks for.

    Raises GuaranteeUnavailable, with every reason and what would make it possible; ServiceNotFound and
    ProviderUnavailable for names that nothing defines.
    """
    if connector.delivery is not Delivery.EFFECTIVELY_ONCE:
        return DeliveryPlan()
    reasons = [*_of_checkpoints(connector, checkpoint_service), *_of_source(connector, configs, catalog)]
    transactional = []
    in_source = False
    for place, ref in enumerate(connector.sinks):
        if _is_idempotent(ref, configs, catalog):
            continue
        if _commits_source(ref, connector, configs, catalog):
            in_source = True
            transactional.append(place)
        elif reason := _of_transaction(ref, configs, catalog, checkpoint_service):
            reasons.append(f"sinks[{place}]: {reason}")
        else:
            transactional.append(place)
    if len(transactional) > 1:
        places = ", ".join(f"sinks[{each}]" for each in transactional)
        reasons.append(f"{places}: one checkpoint commits with one sink; write the others by key (upsert or replace)")
    if reasons:
        message = f"connector {connector.name!r} cannot deliver effectively once: {'; '.join(reasons)}"
        raise GuaranteeUnavailable(message)
    return DeliveryPlan(transactional_sink=transactional[0] if transactional else None, in_source=in_source)


def may_have_members(ref: SourceRef, config: ServiceConfig, catalog: Catalog) -> bool:
    """Whether several runs of one job can read this source at the same time. Raises ProviderUnavailable."""
    role = provider_named(catalog, config.provider).source
    return role is not None and role.members(ref, role_options(role.options, config, ref))


def _of_checkpoints(connector: ConnectorSpec, checkpoint_service: ServiceConfig | None) -> Sequence[str]:
    if connector.checkpoint is not None and not connector.checkpoint.enabled:
        return ["checkpoints are switched off; enable them for this connector"]
    if checkpoint_service is None:
        return ["no store keeps checkpoints; set [system] state or [system.checkpoints]"]
    return []


def _of_source(connector: ConnectorSpec, configs: Mapping[str, ServiceConfig], catalog: Catalog) -> Sequence[str]:
    name = connector.source.service_name
    role = provider_named(catalog, _config(configs, name).provider).source
    if role is None:
        return [f"service {name!r} cannot be a source"]
    if not role.replays:
        return [f"source {name!r} cannot be read again from a position; use one that can, or at_least_once"]
    return []


def _is_idempotent(ref: SinkRef, configs: Mapping[str, ServiceConfig], catalog: Catalog) -> bool:
    config = _config(configs, ref.service_name)
    role = provider_named(catalog, config.provider).sink
    return role is not None and role.idempotent(ref, role_options(role.options, config, ref))


def _commits_source(
    ref: SinkRef, connector: ConnectorSpec, configs: Mapping[str, ServiceConfig], catalog: Catalog
) -> bool:
    """Whether this sink commits the places that the source's own system keeps."""
    config = _config(configs, ref.service_name)
    commits = provider_named(catalog, config.provider).commits_source
    return commits is not None and commits(config, _config(configs, connector.source.service_name))


def _of_transaction(
    ref: SinkRef, configs: Mapping[str, ServiceConfig], catalog: Catalog, checkpoint_service: ServiceConfig | None
) -> str | None:
    """Why this sink cannot commit together with the checkpoint; None: it can."""
    name = ref.service_name
    config = _config(configs, name)
    provider = provider_named(catalog, config.provider)
    if provider.sink is None:
        return f"service {name!r} cannot be a sink"
    if not provider.sink.transactional or provider.transactional_with is None:
        return f"service {name!r} neither writes by key nor commits together with a checkpoint"
    try:
        together = checkpoint_service is None or provider.transactional_with(config, checkpoint_service)
    except ValueError:  # its text may hold what it could not understand
        return f"it cannot be told where service {name!r} keeps its data; correct its settings"
    if not together:
        return (
            f"service {name!r} is another database than the checkpoint's; "
            "keep the checkpoints there, or write by key (upsert or replace)"
        )
    return None


def _config(configs: Mapping[str, ServiceConfig], name: str) -> ServiceConfig:
    if name not in configs:
        message = f"there is no service {name!r}"
        raise ServiceNotFound(message)
    return configs[name]
