"""mongo-java-server, a stand-in for MongoDB: its compare-and-set and its unique `_id` are exact, it lives in memory.

Its jars come through Maven from the pom beside this file, once; they are kept in the user's cache.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.servers.mongodb import MongodbServer
from tests.servers.process import ServerFailed, find_program

ADVICE = "apt-get install default-jdk-headless maven"

_RECIPE = Path(__file__).parent
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def is_installed() -> bool:
    return all(find_program([each]) is not None for each in ("java", "javac", "mvn"))


class MongoJavaServer(MongodbServer):
    """A stop loses everything."""

    accounts = None  # the jars lie in our own cache

    def __init__(self) -> None:
        super().__init__("mongo-java")
        self._home = prepared()

    def command(self) -> list[str]:
        java = [_found("java"), "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"]
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        path = f"{self._home}/classes:{self._home}/lib/*"
        return [*java, quiet, "-cp", path, "MongoServerMain", "127.0.0.1", str(self.port)]


def prepared() -> Path:
    """The folder with jars and classes; made anew when the recipe has changed."""
    recipe = [_RECIPE / each for each in ("pom.xml", "MongoServerMain.java")]
    digest = hashlib.sha256(b"\0".join(each.read_bytes() for each in recipe)).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mstream-tests"
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / f"mongo-java-{digest}"
    with (cache / "mongo-java.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test session may be at it
        if not target.exists():
            build = Path(tempfile.mkdtemp(prefix="mongo-java-", dir=cache))
            try:
                _build(build)
                build.rename(target)
            except BaseException:
                shutil.rmtree(build, ignore_errors=True)
                raise
    return target


def _build(target: Path) -> None:
    jars = [f"-DoutputDirectory={target / 'lib'}", "-DincludeScope=runtime"]
    _run([_found("mvn"), "-q", "-B", "-ntp", "-f", str(_RECIPE / "pom.xml"), _COPY, *jars])
    source = str(_RECIPE / "MongoServerMain.java")
    _run([_found("javac"), "-cp", f"{target}/lib/*", "-d", str(target / "classes"), source])


def _run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        message = f"{command[0]} ended with {result.returncode}\n{(result.stdout + result.stderr)[-2000:]}"
        raise ServerFailed(message)


def _found(name: str) -> str:
    program = find_program([name])
    if program is None:
        message = f"{name} is missing: {ADVICE}"
        raise ServerFailed(message)
    return str(program)
