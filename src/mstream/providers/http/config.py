"""Fields of an http service."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from mstream.domain.service import ServiceConfig


class HttpConfig(ServiceConfig):
    """An endpoint that takes records, or changes them."""

    public: ClassVar[frozenset[str]] = ServiceConfig.public | {"host"}

    provider: Literal["http"] = "http"
    #: The URL that resources are joined to.
    host: str = Field(min_length=1)
    #: Attempts in all for one request.
    max_retries: int = Field(default=5, ge=0)
    base_backoff_ms: int = Field(default=1000, ge=0)
    connection_timeout_sec: int = Field(default=30, ge=0)
    timeout_sec: int = Field(default=30, ge=0)
    tcp_keepalive_sec: int = Field(default=300, ge=0)
