"""Nothing in the repository ties it to one machine or one registry."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.architecture.source import ROOT

#: Written so that this file does not contain what it looks for.
FORBIDDEN = {
    "a registry's host": r"pypi\.[a-z]+|python" + r"hosted\.org|https?://[^\s\"']*/simple\b",
    "a choice of registry": r"--(extra-)?index" + r"-url|--trusted" + r"-host|--find-links[ =]https?:",
    "a path of one machine": r"(?<![\w./~$}-])/(work|root|Users)" + r"/|(?<![\w./~$}-])/home/[a-z]+/",
    "what lies outside the repository": r"\.\./shared" + r"/",
}
#: Reading them would say nothing.
BINARY = (".png", ".gif", ".ico", ".jpg", ".woff2", ".db")


def traces(text: str, hosts: frozenset[str] = frozenset()) -> list[str]:
    """What in a text does not belong into a repository."""
    found = [f"{what}: {match[0]}" for what, pattern in FORBIDDEN.items() for match in re.finditer(pattern, text)]
    return found + [f"a registry's host: {each}" for each in hosts if each in text]


def tracked() -> Iterator[Path]:
    """Every file of the repository."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout: which files are tracked is not known")
    for name in listing.stdout.split("\0"):
        path = ROOT / name
        if name and path.is_file() and path.suffix not in BINARY:
            yield path


def configured_hosts() -> frozenset[str]:
    """Hosts of the registries that this machine uses."""
    urls = [value for name, value in os.environ.items() if re.search(r"INDEX|REGISTRY|PROXY", name)]
    return frozenset(host for each in urls if (host := urlsplit(each).hostname) and "." in host)


def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    hosts = configured_hosts()
    found = {str(path.relative_to(ROOT)): traces(path.read_text(errors="replace"), hosts) for path in tracked()}

    assert {name: each for name, each in found.items() if each} == {}


@pytest.mark.parametrize(
    "text",
    [
        "https://files.python" + "hosted.org/packages/x.whl",
        "see https://mirror.local/" + "simple for wheels",
        "--index" + "-url https://mirror.local",
        "cd /work" + "/main",
        "config = '/home" + "/somebody/mstream.toml'",
        "../shared" + "/design",
    ],
)
def test_a_trace_is_noticed(text: str) -> None:
    assert traces(text) != []


def test_a_configured_host_is_noticed() -> None:
    assert traces("from mirror.local", frozenset({"mirror.local"})) == ["a registry's host: mirror.local"]


@pytest.mark.parametrize("text", ["file:/path/x", "./work/orders", "https://example.com/orders", "~/" + "work/x"])
def test_an_ordinary_text_passes(text: str) -> None:
    assert traces(text) == []
