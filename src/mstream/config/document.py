"""ConfigFile: the whole file as one value; its shape is built from the catalog."""

from __future__ import annotations

import functools
import operator
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, create_model

from mstream.config.system import System
from mstream.domain.connector import ConnectorSpec, Model
from mstream.domain.service import ServiceConfig
from mstream.errors import ServiceNotFound
from mstream.ports.provider import Catalog


class ConfigFile(Model):
    """What a file says: how the program runs, services, connectors."""

    system: System = System()
    #: Those of the file; when loaded, also the one that `[system] state` implies, last.
    services: tuple[ServiceConfig, ...] = ()
    connectors: tuple[ConnectorSpec, ...] = ()

    def service(self, name: str) -> ServiceConfig:
        """The service of that name; raises ServiceNotFound."""
        for each in self.services:
            if each.name == name:
                return each
        message = f"there is no service {name!r}"
        raise ServiceNotFound(message)


def service_union(catalog: Catalog) -> Any:
    """One of the catalog's config models, chosen by `provider`."""
    models = [each.config for each in catalog]
    if len(models) == 1:
        return models[0]
    union: Any = functools.reduce(operator.or_, models)
    return Annotated[union, Field(discriminator="provider")]


def service_adapter(catalog: Catalog) -> TypeAdapter[ServiceConfig]:
    """Parses one service: of a file, of an API body, of a decrypted document."""
    return TypeAdapter(service_union(catalog))


def file_model(catalog: Catalog) -> type[ConfigFile]:
    """The shape of a whole file, with the services that this catalog knows."""
    fields: dict[str, Any] = {"services": (tuple[service_union(catalog), ...], ())}  # type: ignore[misc]  # a type made at run time
    return create_model("ConfigFile", __base__=ConfigFile, __doc__=ConfigFile.__doc__, **fields)
