"""What servers need that come through Maven: fetched once, kept in the user's cache, made anew with their recipe."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.servers.process import ServerFailed, find_program

ADVICE = "apt-get install default-jdk-headless maven"
#: For servers that are asked little.
SMALL_JAVA = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")

_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"


def is_installed() -> bool:
    return all(find_program([each]) is not None for each in ("java", "javac", "mvn"))


def prepared(name: str, recipe: Sequence[Path], build: Callable[[Path], None]) -> Path:
    """The folder that `build` has filled; made anew when one of the recipe's files has changed."""
    digest = hashlib.sha256(b"\0".join(each.read_bytes() for each in recipe)).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mstream-tests"
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / f"{name}-{digest}"
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test session may be at it
        if not target.exists():
            building = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=cache))
            try:
                build(building)
                building.rename(target)
            except BaseException:
                shutil.rmtree(building, ignore_errors=True)
                raise
    return target


def copy_jars(pom: Path, folder: Path) -> None:
    """All that the pom depends on."""
    options = [f"-DoutputDirectory={folder}", "-DincludeScope=runtime"]
    run([program("mvn"), "-q", "-B", "-ntp", "-f", str(pom), f"{_PLUGIN}:copy-dependencies", *options])


def unpack(pom: Path, folder: Path) -> None:
    """The contents of all that the pom depends on."""
    options = [f"-DoutputDirectory={folder}", f"-DmarkersDirectory={folder / 'markers'}"]
    run([program("mvn"), "-q", "-B", "-ntp", "-f", str(pom), f"{_PLUGIN}:unpack-dependencies", *options])


def run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        message = f"{command[0]} ended with {result.returncode}\n{(result.stdout + result.stderr)[-2000:]}"
        raise ServerFailed(message)


def program(name: str) -> str:
    found = find_program([name])
    if found is None:
        message = f"{name} is missing: {ADVICE}"
        raise ServerFailed(message)
    return str(found)
