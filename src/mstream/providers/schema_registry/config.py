"""Fields of a schema_registry service, and names of subjects."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from mstream.domain.service import ServiceConfig
from mstream.foundation.secrets import Secret, is_reference

_SCHEMES = ("http://", "https://")


class SchemaRegistryConfig(ServiceConfig):
    """A schema registry that speaks Confluent's protocol, as Apicurio does under `/apis/ccompat/v7`."""

    public: ClassVar[frozenset[str]] = ServiceConfig.public | {
        "url",
        "username",
        "tls_ca_file",
        "tls_certificate_file",
        "tls_key_file",
    }

    provider: Literal["schema_registry"] = "schema_registry"
    #: Where it is; of several that hold the same, with commas between, the next is asked when one does not answer.
    url: str = Field(min_length=1)
    #: With `password`: basic authentication.
    username: str | None = None
    password: Secret | None = None
    #: Sent as a bearer token, in the place of both.
    token: Secret | None = None
    #: Trusted authorities, PEM; without it those of the system.
    tls_ca_file: str | None = None
    #: Our own certificate, PEM, with `tls_key_file` where the key is not in it.
    tls_certificate_file: str | None = None
    tls_key_file: str | None = None
    tls_key_password: Secret | None = None
    #: For one request.
    timeout_sec: float = Field(default=10, gt=0)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not is_reference(self.url) and not all(each.startswith(_SCHEMES) for each in self.urls):
            raise ValueError("'url' must begin with http:// or https://")
        if (self.username is None) != (self.password is None):
            raise ValueError("'username' and 'password' go together")
        if self.tls_key_file is not None and self.tls_certificate_file is None:
            raise ValueError("'tls_key_file' goes with 'tls_certificate_file'")
        return self

    @property
    def urls(self) -> tuple[str, ...]:
        """Each of them, without a slash at its end."""
        return tuple(each.strip().rstrip("/") for each in self.url.split(",") if each.strip())


def subject_and_version(name: str) -> tuple[str, str | None]:
    """`SUBJECT`, or `SUBJECT:VERSION` with a number or `latest`; subjects themselves may have colons."""
    subject, colon, version = name.rpartition(":")
    if colon and subject and (version.isdecimal() or version == "latest"):
        return subject, version
    return name, None


def subject_of(topic: str, /, *, is_key: bool = False) -> str:
    """Under which the schema of a topic's values, or of its keys, is kept by those who say nothing else."""
    return f"{topic}-{'key' if is_key else 'value'}"
