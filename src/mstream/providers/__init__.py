"""One folder per outside system; the catalog of all of them, plug-ins included."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from mstream.errors import ConfigError
from mstream.ports.provider import Catalog, Provider
from mstream.providers import file, http, kafka, memory, mongodb, pubsub, schema_registry, sql, udf

#: Under this name a distribution offers a `Provider` of its own.
PLUG_IN_GROUP: Final = "mstream.providers"

BUILT_IN: Final[Catalog] = (
    file.PROVIDER,
    sql.PROVIDER,
    udf.PROVIDER,
    memory.PROVIDER,
    mongodb.PROVIDER,
    kafka.PROVIDER,
    schema_registry.PROVIDER,
    pubsub.PROVIDER,
    http.PROVIDER,
)


def plug_ins(built_in: Catalog, points: tuple[EntryPoint, ...]) -> Catalog:
    """The providers of installed distributions; raises ConfigError for one that is not usable."""
    found: list[Provider[Any, Any]] = []
    for each in points:
        provider = _loaded(each)
        if any(other.name == provider.name for other in (*built_in, *found)):
            message = f"plug-in {each.value!r} brings a second provider {provider.name!r}; uninstall one of them"
            raise ConfigError(message)
        found.append(provider)
    return tuple(found)


def _loaded(point: EntryPoint) -> Provider[Any, Any]:
    try:
        provider = point.load()
    except (ImportError, AttributeError) as error:
        message = f"plug-in {point.value!r} of group {PLUG_IN_GROUP!r} cannot be imported; repair or uninstall it"
        raise ConfigError(message) from error
    if not isinstance(provider, Provider):
        message = f"plug-in {point.value!r} of group {PLUG_IN_GROUP!r} is no Provider; repair or uninstall it"
        raise ConfigError(message)
    return provider


#: Every provider that this installation knows, those that are described only included.
CATALOG: Final[Catalog] = (*BUILT_IN, *plug_ins(BUILT_IN, tuple(entry_points(group=PLUG_IN_GROUP))))
