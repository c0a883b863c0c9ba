"""A private Apicurio Registry in memory, which speaks the protocol of Confluent's schema registry.

It comes through Maven from the pom beside this file, once, and is kept in the user's cache.
"""

from __future__ import annotations

import urllib.request
from pathlib import Path

from tests.servers.maven import ADVICE, SMALL_JAVA, is_installed, prepared, program, unpack
from tests.servers.process import ServerProcess

__all__ = ["ADVICE", "ApicurioServer", "is_installed"]

_POM = Path(__file__).parent / "pom.xml"


class ApicurioServer(ServerProcess):
    """What it holds is gone when it ends."""

    accounts = None  # the program lies in our own cache

    def __init__(self) -> None:
        super().__init__("apicurio")
        home = prepared("apicurio", [_POM], lambda target: unpack(_POM, target))
        (self._jar,) = home.glob("*-runner.jar")

    @property
    def url(self) -> str:
        """Where Confluent's protocol is spoken."""
        return f"http://127.0.0.1:{self.port}/apis/ccompat/v7"

    def command(self) -> list[str]:
        here = ("-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={self.port}", "-Dquarkus.log.level=WARN")
        return [program("java"), "-Xmx256m", *SMALL_JAVA, *here, "-jar", str(self._jar)]

    def greet(self) -> None:
        urllib.request.urlopen(f"{self.url}/subjects", timeout=2).close()
