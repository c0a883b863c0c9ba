"""Fields of a pubsub service, with two kinds of credentials."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from mstream.domain.service import ServiceConfig


class ServiceAccount(BaseModel):
    """Credentials from a key file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: Literal["service_account"]
    account_key_path: str = Field(min_length=1)


class StaticToken(BaseModel):
    """A token from an environment variable."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: Literal["static_token"]
    #: The name of the variable.
    env_token_name: str = Field(min_length=1)


class PubsubConfig(ServiceConfig):
    """The topics and subscriptions of one project."""

    public: ClassVar[frozenset[str]] = ServiceConfig.public | {"project_id"}

    provider: Literal["pubsub"] = "pubsub"
    project_id: str = Field(min_length=1)
    auth: Annotated[ServiceAccount | StaticToken, Field(discriminator="kind")]

    def references(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Its credentials are named without `env:` and `file:`."""
        yield from super().references()
        match self.auth:
            case StaticToken():
                yield ("auth", "env_token_name"), f"env:{self.auth.env_token_name}"
            case ServiceAccount():
                yield ("auth", "account_key_path"), f"file:{self.auth.account_key_path}"
