"""The pinned files follow pyproject.toml, and can be trusted."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.packaging.wheelhouse import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FILES = ("runtime.txt", "dev.txt", "bench.txt")
#: What is left to whoever wants it: too large for everybody's environment.
UNPINNED = {"ray"}


def entries(name: str) -> list[str]:
    """One text per pinned package, with its hashes."""
    lines = (ROOT / "requirements" / name).read_text().replace("\\\n", " ").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def pins(name: str) -> dict[str, Version]:
    found = (re.match(r"([\w.-]+)==([^\s;]+)", each) for each in entries(name))
    return {canonicalize_name(each[1]): Version(each[2]) for each in found if each}


def group(name: str) -> Iterator[str]:
    for each in PROJECT["dependency-groups"][name]:
        if isinstance(each, str):
            yield each
        else:
            yield from group(each["include-group"])


def stale(needed: Sequence[str], pinned: Mapping[str, Version]) -> list[str]:
    """Requirements that no pin fulfils."""
    requirements = [Requirement(each) for each in needed]
    return [
        str(each)
        for each in requirements
        if not each.specifier.contains(pinned.get(canonicalize_name(each.name), Version("0")), prereleases=True)
        or canonicalize_name(each.name) not in pinned
    ]


def declared(file: str) -> list[str]:
    """What a file has to fulfil."""
    project = PROJECT["project"]
    if file == "runtime.txt":
        return [*project["dependencies"], *group("package")]
    if file == "bench.txt":
        return list(group("bench"))
    extras = project["optional-dependencies"]
    optional = [each for name, needs in extras.items() if name not in {"all", *UNPINNED} for each in needs]
    return [*project["dependencies"], *optional, *group("dev")]


@pytest.mark.parametrize("file", FILES)
def test_what_is_declared_is_pinned(file: str) -> None:
    assert stale(declared(file), pins(file)) == [], "run: make lock"


def test_an_outdated_pin_is_noticed() -> None:
    pinned = {"orjson": Version("3.0")}

    assert stale(["orjson>=3.10", "httpx"], pinned) == ["orjson>=3.10", "httpx"]


@pytest.mark.parametrize("file", FILES)
def test_every_pin_has_hashes(file: str) -> None:
    assert [each for each in entries(file) if "--hash=sha256:" not in each] == []


@pytest.mark.parametrize("file", ["runtime.txt", "bench.txt"])
def test_the_files_agree(file: str) -> None:
    development = pins("dev.txt")
    other = pins(file)

    assert {
        name: (other[name], development[name]) for name in other if development.get(name, other[name]) != other[name]
    } == {}


@pytest.mark.parametrize("file", FILES)
def test_no_file_says_where_packages_come_from(file: str) -> None:
    text = (ROOT / "requirements" / file).read_text()

    assert re.findall(r"^--.*$|\w+://\S+", text, flags=re.MULTILINE) == []


def test_all_is_every_extra_but_ray() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    (everything,) = [Requirement(each) for each in extras["all"]]

    assert everything.extras == set(extras) - {"all", *UNPINNED}
