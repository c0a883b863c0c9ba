"""The pages are true: generated ones current, links and commands real, and marked blocks do what they show."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    each.relative_to(ROOT).as_posix()
    for each in (ROOT / "docs").rglob("*.md")
    if any(mark in each.read_text() for mark in ("```sh test", "```python test"))
)

pytestmark = pytest.mark.slow


def checked(*more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/docs.py", *more]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Iterator[Mapping[str, Future[subprocess.CompletedProcess[str]]]]:
    """The pages that are asked for, a few at once: each waits for most of its time."""
    own = [each for each in request.session.items if each.path == request.path]
    chosen = [each.callspec.params for each in own if isinstance(each, pytest.Function) and "page" in each.fixturenames]
    with ThreadPoolExecutor(3) as pool:
        yield {each["page"]: pool.submit(checked, "--run", each["page"]) for each in chosen}


def test_pages_are_current_and_name_only_what_is_there() -> None:
    result = checked("--check")

    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_do_what_they_show(
    page: str, runs: Mapping[str, Future[subprocess.CompletedProcess[str]]]
) -> None:
    result = runs[page].result()

    assert result.returncode == 0, result.stderr


def test_a_block_that_fails_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh test=3\nmstream check nothing.toml\n```\n\n```sh test\nmstream check nothing.toml\n```\n")

    result = checked("--run", str(page))

    assert result.returncode == 3
    assert "ended with 3" in result.stderr
