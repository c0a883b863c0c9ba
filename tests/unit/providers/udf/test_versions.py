"""Versions of scripts: what a run has is what its version says, to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mstream.domain.batch import Batch
from mstream.domain.connector import MiddlewareRef
from mstream.ports.provider import role_options
from mstream.providers.udf import PROVIDER
from mstream.providers.udf.config import UdfConfig

TEXT = "def transform(data): return {'n': 1}\n"

names = st.text(st.characters(codec="utf-8", exclude_characters="/\\\x00"), min_size=1).filter(
    lambda each: each.strip(".")
)
sources = st.dictionaries(names, st.text(max_size=20), min_size=1, max_size=4)


def config(folder: Path | str = "scripts", **more: Any) -> UdfConfig:
    settings = {"name": "s", "script_path": str(folder), "engine": {"kind": "python"}, **more}
    return UdfConfig.model_validate(settings)


def listed(texts: dict[str, str]) -> list[dict[str, str]]:
    return [{"filename": name, "content": text} for name, text in texts.items()]


def pinned(some: UdfConfig, resources: list[str]) -> UdfConfig:
    """The service as a run has it."""
    assert PROVIDER.pinned is not None
    return PROVIDER.pinned(some, resources)


def contents(folder: Path) -> dict[str, str]:
    return {each.name: each.read_text() for each in folder.iterdir()}


async def applied(some: UdfConfig, resource: str) -> Any:
    ref = MiddlewareRef.model_validate({"service_name": "s", "resource": resource})
    role = PROVIDER.middleware
    assert role is not None
    async with PROVIDER.connect(some) as live, role.open(live, ref, role_options(role.options, some, ref)) as script:
        return (await script.apply(Batch(documents=[{}]))).batch.documents


@given(texts=sources)
def test_a_version_follows_the_texts_and_not_their_order(texts: dict[str, str]) -> None:
    one, other = listed(texts), listed(texts)[::-1]

    assert config(sources=one).script_version() == config(sources=other).script_version()


@given(texts=sources, more=st.text(min_size=1, max_size=5))
def test_another_text_is_another_version(texts: dict[str, str], more: str) -> None:
    name = next(iter(texts))

    assert (
        config(sources=listed(texts)).script_version()
        != config(sources=listed({**texts, name: texts[name] + more})).script_version()
    )


@given(texts=sources)
def test_the_same_texts_for_another_engine_are_another_version(texts: dict[str, str]) -> None:
    python, rhai = (config(sources=listed(texts), engine={"kind": kind}) for kind in ("python", "rhai"))

    assert python.script_version() != rhai.script_version()


def test_without_texts_there_is_no_version() -> None:
    assert config().script_version() is None


async def test_a_pinned_service_runs_what_its_files_held_whatever_becomes_of_them(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(TEXT)

    taken = pinned(config(tmp_path), ["a.py"])
    path.write_text("broken")

    assert await applied(taken, "a.py") == [{"n": 1}]
    assert taken.script_version() is not None
    assert taken.script_version() != pinned(config(tmp_path), ["a.py"]).script_version()


async def test_pinning_takes_texts_of_the_definition_before_files(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("broken")
    some = config(tmp_path, sources=listed({"a.py": TEXT}))

    assert pinned(some, ["a.py"]) == some


async def test_scripts_that_cannot_be_taken_in_are_left_to_the_run(tmp_path: Path) -> None:
    (tmp_path / "latin.py").write_bytes(b"# -*- coding: latin-1 -*-\n# \xe9\n" + TEXT.encode())
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "b.py").write_text(TEXT)
    some = config(tmp_path)

    taken = pinned(some, ["latin.py", "below/b.py", "missing.py", "../out.py"])

    assert taken == some
    assert await applied(taken, "latin.py") == [{"n": 1}]
    assert await applied(taken, "below/b.py") == [{"n": 1}]


async def test_texts_of_a_definition_are_never_written_into_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("# mine\n")
    some = config(tmp_path, sources=listed({"a.py": TEXT, "b.py": TEXT}))

    await applied(pinned(some, ["a.py", "b.py"]), "a.py")

    assert contents(tmp_path) == {"a.py": "# mine\n"}
