"""Errors cross as code and message and come back as what they were."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mstream.errors import Crashed, MstreamError, StaleOwner, Unreachable
from mstream.runtimes.faults import error_of, failed, fault_of
from mstream.runtimes.messages import Fault


def tree(root: type[MstreamError]) -> Iterator[type[MstreamError]]:
    yield root
    for each in root.__subclasses__():
        if each.__module__ == "mstream.errors":
            yield from tree(each)


@pytest.mark.parametrize("kind", list(tree(MstreamError)))
def test_every_error_comes_back_as_its_own_class(kind: type[MstreamError]) -> None:
    error = error_of(fault_of(kind("what happened")))

    assert type(error) is kind
    assert str(error) == "what happened"


def test_a_code_that_nobody_knows_is_a_crash() -> None:
    assert type(error_of(Fault(code="from_the_future", message="m"))) is Crashed


def test_of_a_group_the_first_error_of_ours_counts() -> None:
    group = BaseExceptionGroup("g", [ValueError("v"), ExceptionGroup("h", [StaleOwner("newer"), Unreachable("u")])])

    assert failed(group).reason == "stale_owner"


def test_the_text_of_a_foreign_error_stays_where_it_was() -> None:
    outcome = failed(ValueError("password=hunter2"))

    assert outcome.reason == "crashed"
    assert outcome.message == "ValueError in an unknown place"


def test_addresses_lose_their_credentials() -> None:
    assert fault_of(Unreachable("no answer from db://me:hunter2@host")).message == "no answer from db://****@host"


def test_a_module_that_is_missing_is_not_tried_again() -> None:
    outcome = failed(ModuleNotFoundError("No module named 'gone'", name="gone"))

    assert (outcome.reason, outcome.retryable) == ("provider_unavailable", False)
    assert "'gone'" in str(outcome.message)


_REMOVED = """
import os, sys
from mstream.runtimes.faults import failed
os.rmdir(os.getcwd())
try:
    os.path.abspath("here")
except FileNotFoundError as error:
    outcome = failed(error)
print(outcome.reason, outcome.retryable, outcome.message)
"""


def test_a_working_directory_that_is_missing_is_not_tried_again(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()

    answer = subprocess.run(
        [sys.executable, "-P", "-c", _REMOVED], cwd=gone, capture_output=True, text=True, check=True, timeout=60
    )

    assert answer.stdout.startswith("resource_missing False the working directory")


def test_a_file_that_is_missing_is_a_crash_like_any_other() -> None:
    assert failed(FileNotFoundError("here")).reason == "crashed"
