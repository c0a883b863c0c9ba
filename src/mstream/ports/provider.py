"""Provider descriptor: name, config model and one factory per capability."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from mstream.domain.batch import Encoding
from mstream.domain.checkpoint import Begin, Lane
from mstream.domain.connector import MiddlewareRef, Ref, SinkRef, SourceRef
from mstream.domain.service import RoleOptions, ServiceConfig
from mstream.errors import ProviderUnavailable
from mstream.ports.documents import DocumentStore
from mstream.ports.inspection import Inspection
from mstream.ports.probe import ProbeStep
from mstream.ports.roles import Lanes, Middleware, Resume, Sink, Source
from mstream.ports.schemas import SchemaCatalog

#: The provider's config model, and its live object.
C = TypeVar("C", bound=ServiceConfig)
L = TypeVar("L")

T = TypeVar("T")
Opened = AbstractAsyncContextManager[T]


class SchemaName(Protocol):
    """What a schema is called by its service."""

    def __call__(self, resource: str, /, *, is_key: bool = False) -> str:
        """That of the records of a resource, or of their keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRole(Generic[C, L]):
    """What a provider's source is and gives."""

    #: Live object, ref, options (of the model below, the service's defaults put in), stored positions, lanes.
    open: Callable[[L, SourceRef, Any, Resume, Lanes], Opened[Source]]
    #: What a stored position belongs to; pure.
    fingerprint: Callable[[C, SourceRef, Any], str]
    options: type[RoleOptions] = RoleOptions
    #: It can be read again from a stored position.
    replays: bool = True
    #: The options with which it begins there, where it has no position; a place that it cannot begin at is missing.
    #: A function is given the options as they are.
    begins: Mapping[Begin, Mapping[str, Any] | Callable[[Mapping[str, Any]], Mapping[str, Any]]] = field(
        default_factory=dict
    )
    #: Why this cannot be a stored position of that lane, as far as its shape tells; None: it can.
    refuses: Callable[[Lane, Any], str | None] = lambda lane, position: None
    #: It can come to an end at the head of a moment (`ports.roles.Finite`).
    finite: bool = False
    #: With this ref and these options it is a member of a group that shares its lanes out (`ports.roles.Lanes`), so
    #: that several runs of one job can read at the same time.
    members: Callable[[SourceRef, Any], bool] = lambda ref, options: False
    #: What is written to that resource of the same service comes out of this source: such a job feeds itself.
    reads: Callable[[SourceRef, str], bool] = lambda ref, resource: False
    #: How its payloads come when the ref does not say.
    input_encoding: Encoding = Encoding.JSON
    #: The encodings in which payloads can come.
    encodings: frozenset[Encoding] = frozenset(Encoding)
    #: Its records can have keys that somebody has written by a schema.
    has_keys: bool = False
    #: The ref must say how payloads come, as in files of v0.47.
    needs_input_encoding: bool = False
    #: Problems that a single field cannot tell, or that only this provider knows: a text for each, by key of the ref.
    check: Callable[[SourceRef, Any], Sequence[tuple[str, str]]] = lambda ref, options: ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkRole(Generic[C, L]):
    """What a provider's sink is and gives."""

    open: Callable[[L, SinkRef, Any], Opened[Sink]]
    options: type[RoleOptions] = RoleOptions
    #: With this ref and these options, writing a record again changes nothing.
    idempotent: Callable[[SinkRef, Any], bool] = lambda ref, options: False
    #: The encoding that it makes of whatever it is given; None: records stay as they come.
    keeps: Encoding | None = None
    #: Its keys can be written by a schema (`ports.encoding.KeyedSink`).
    has_keys: bool = False
    #: It has `write_with`.
    transactional: bool = False
    #: As a source's.
    check: Callable[[SinkRef, Any], Sequence[tuple[str, str]]] = lambda ref, options: ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MiddlewareRole(Generic[C, L]):
    """What a provider's middleware is."""

    open: Callable[[L, MiddlewareRef, Any], Opened[Middleware]]
    options: type[RoleOptions] = RoleOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider(Generic[C, L]):
    """Everything the rest of the system knows about one kind of outside system."""

    name: str
    config: type[C]
    #: Opens the live object; one per service and process. References are resolved already.
    connect: Callable[[C], Opened[L]]
    source: SourceRole[C, L] | None = None
    sink: SinkRole[C, L] | None = None
    middleware: MiddlewareRole[C, L] | None = None
    documents: Callable[[L], DocumentStore] | None = None
    schemas: Callable[[L], SchemaCatalog] | None = None
    #: What the schema of a resource's records, or of their keys, is called there; None: it must be said.
    schema_name: SchemaName | None = None
    #: Whether a sink here can commit together with a checkpoint that stands in that service.
    transactional_with: Callable[[C, ServiceConfig], bool] | None = None
    #: Whether a sink here can commit, together with its records, the places that a source in that service keeps.
    commits_source: Callable[[C, ServiceConfig], bool] | None = None
    #: Which database of its deployment a service is; "" where there are no others that a transaction could reach.
    database: Callable[[C], str] = lambda config: ""
    #: Jobs that use it run in the owner's process.
    one_process: bool = False
    #: The extra that brings the driver; None: none is needed.
    extra: str | None = None
    #: False: described, so that files can be checked, but not there yet.
    built: bool = True
    #: With this config the provider cannot run here, and why; None: it can.
    unavailable: Callable[[C], str | None] = lambda config: None
    #: Tests a service step by step and writes nothing; references are resolved already. None: opening it is the test.
    probe: Callable[[C], Awaitable[Sequence[ProbeStep]]] | None = None
    #: Lists what a service holds, and looks at its documents; None: it cannot.
    inspection: Callable[[L], Inspection] | None = None
    #: The config as a run has it to its end: texts that it refers to and that the run's resources need are taken in.
    #: Reads files, in a thread, and never raises; what cannot be read is left to the run, which says why.
    pinned: Callable[[C, Sequence[str]], C] | None = None


Catalog = Sequence[Provider[Any, Any]]


def provider_named(catalog: Catalog, name: str) -> Provider[Any, Any]:
    """The descriptor of that name; raises ProviderUnavailable when there is none."""
    for each in catalog:
        if each.name == name:
            return each
    message = f"there is no provider {name!r}; installed are {', '.join(each.name for each in catalog)}"
    raise ProviderUnavailable(message)


def role_options(model: type[RoleOptions], config: ServiceConfig, ref: Ref) -> RoleOptions:
    """The options of a ref: its own keys over defaults that stand on the service under the same names."""
    defaults = {
        name: getattr(config, name)
        for name in model.model_fields
        if name in type(config).model_fields and name in config.model_fields_set
    }
    return model.model_validate({**defaults, **ref.options})


def not_built(provider: str, *, extra: str | None = None) -> ProviderUnavailable:
    """The error of a provider that is described but cannot run here."""
    if extra:
        message = f"provider {provider!r} needs a package that is not installed: pip install 'mstream[{extra}]'"
    else:
        message = f"provider {provider!r} is not available in this version"
    return ProviderUnavailable(message)
