"""mongo-java-server, a stand-in for MongoDB: its compare-and-set and its unique `_id` are exact, it lives in memory.

Its jars come through Maven from the pom beside this file, once; they are kept in the user's cache.
"""

from __future__ import annotations

from pathlib import Path

from tests.servers.maven import ADVICE, SMALL_JAVA, copy_jars, is_installed, prepared, program, run
from tests.servers.mongodb import MongodbServer

__all__ = ["ADVICE", "MongoJavaServer", "is_installed"]

_POM, _MAIN = (Path(__file__).parent / each for each in ("pom.xml", "MongoServerMain.java"))


class MongoJavaServer(MongodbServer):
    """A stop loses everything."""

    accounts = None  # the jars lie in our own cache

    def __init__(self) -> None:
        super().__init__("mongo-java")
        self._home = prepared("mongo-java", [_POM, _MAIN], _build)

    def command(self) -> list[str]:
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        path = f"{self._home}/classes:{self._home}/lib/*"
        java = [program("java"), "-Xmx512m", *SMALL_JAVA, quiet, "-cp", path]
        return [*java, "MongoServerMain", "127.0.0.1", str(self.port)]


def _build(target: Path) -> None:
    copy_jars(_POM, target / "lib")
    run([program("javac"), "-cp", f"{target}/lib/*", "-d", str(target / "classes"), str(_MAIN)])
