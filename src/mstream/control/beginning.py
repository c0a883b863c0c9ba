"""Where a job begins that has no position: what a reset has asked for, said in its source's own options."""

from __future__ import annotations

from mstream.domain.checkpoint import Begin, Checkpoint
from mstream.domain.connector import ConnectorSpec, SourceRef
from mstream.domain.reset import Target, ToBegin, ToPositions, described
from mstream.domain.service import ServiceConfig
from mstream.errors import UsageError
from mstream.ports.provider import Catalog, provider_named


def begun(connector: ConnectorSpec, checkpoint: Checkpoint, config: ServiceConfig, catalog: Catalog) -> ConnectorSpec:
    """The connector as this run has it; `config`: its source's service."""
    role = provider_named(catalog, config.provider).source
    if checkpoint.positions or role is None or checkpoint.begin not in role.begins:
        return connector
    given, begins = connector.source.model_dump(exclude_unset=True), role.begins[checkpoint.begin]
    source = given | dict(begins(given) if callable(begins) else begins)
    return connector.model_copy(update={"source": SourceRef.model_validate(source)})


def require_begin(connector: ConnectorSpec, to: Target, config: ServiceConfig, catalog: Catalog) -> None:
    """Raises UsageError when the connector's source cannot be put there."""
    role = provider_named(catalog, config.provider).source
    if isinstance(to, ToPositions) and role is not None:
        for lane, position in to.positions.items():
            if why := role.refuses(lane, position):
                message = (
                    f"job {connector.name!r}: a source of provider {config.provider!r} has no such position in lane"
                    f" {lane!r}: {why}"
                )
                raise UsageError(message)
    if not isinstance(to, ToBegin) or to.begin is Begin.CONFIGURED:
        return
    if role is None or to.begin not in role.begins:
        message = (
            f"job {connector.name!r}: a source of provider {config.provider!r} cannot be put {described(to)};"
            " give a position, or reset without one: then it begins as its options say"
        )
        raise UsageError(message)
