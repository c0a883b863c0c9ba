"""Which scripts run, and what is said of those that do not."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mstream.domain.batch import Batch, Form
from mstream.errors import AccessDenied, ProviderUnavailable, ResourceMissing, ScriptInvalid
from mstream.ports.roles import Middleware
from mstream.providers.udf import PROVIDER

OpenScript = Callable[..., Awaitable[Middleware]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\ndef transform(data, attributes)\n    return data\n", "line 2: "),
        ("x = 1\n\ny = x / 0\n", "line 3: ZeroDivisionError"),
        ("import nothing_of_this_name\n", "line 1: ModuleNotFoundError"),
        ("exit()\n", "line 1: it called exit()"),
        ("x = 1\n", "neither transform"),
        ("transform = 5\n", "transform is a int"),
        ("x = 1\n\nasync def transform(data, attributes):\n    return data\n", "line 3: transform is asynchronous"),
        ("def transform(data, attributes):\n    yield data\n", "line 1: transform yields"),
        ("def transform():\n    return 1\n", "must take (data, attributes)"),
        ("def transform_batch(a, b, c):\n    return a\n", "must take (records)"),
        ("x = '\x00'\n", "script 'script.py'"),
    ],
)
async def test_a_script_that_cannot_run_is_refused_by_name_and_line(opened: OpenScript, text: str, said: str) -> None:
    with pytest.raises(ScriptInvalid) as caught:
        await opened(text)

    assert "script 'script.py'" in str(caught.value)
    assert said in str(caught.value)


async def test_a_script_that_is_not_there_is_named_with_its_folder(opened: OpenScript, tmp_path: Path) -> None:
    with pytest.raises(ResourceMissing, match=r"'absent\.py'"):
        await opened(resource="absent.py")


@pytest.mark.parametrize("resource", ["../outside.py", "/etc/hostname", "sub/../../outside.py", "link.py", "a\x00.py"])
async def test_a_resource_cannot_leave_the_folder(opened: OpenScript, tmp_path: Path, resource: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "outside.py").write_text("def transform(data): return data\n")
    (inside / "link.py").symlink_to(tmp_path / "outside.py")

    with pytest.raises(AccessDenied, match="outside of the folder"):
        await opened(resource=resource, service={"script_path": str(inside)})


async def test_a_script_may_stand_in_a_folder_below(opened: OpenScript, tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()

    middleware = await opened("def transform(data): return data\n", resource="shop/mask.py")

    assert middleware.accepts is Form.DOCUMENTS


async def test_a_script_of_the_definition_goes_before_a_file(opened: OpenScript) -> None:
    sources = [{"filename": "script.py", "content": "def transform(data): return {'from': 'definition'}\n"}]

    middleware = await opened("def transform(data): return {'from': 'file'}\n", service={"sources": sources})

    transformed = await middleware.apply(Batch(documents=[{}]))
    assert transformed.batch.documents == [{"from": "definition"}]


async def test_a_script_is_compiled_once(opened: OpenScript, tmp_path: Path) -> None:
    middleware = await opened("count = []\ndef transform(data):\n    count.append(1)\n    return {'n': len(count)}\n")
    (tmp_path / "script.py").unlink()

    await middleware.apply(Batch(documents=[{}]))
    transformed = await middleware.apply(Batch(documents=[{}]))

    assert transformed.batch.documents == [{"n": 2}]


async def test_scripts_with_data_classes_and_imports_run(opened: OpenScript) -> None:
    middleware = await opened(
        """
        from __future__ import annotations
        from dataclasses import dataclass
        from mstream.functions import mask_email

        @dataclass
        class Order:
            email: str | None

        def transform(data, attributes):
            return {"email": mask_email(Order(**data).email)}
        """
    )

    transformed = await middleware.apply(Batch(documents=[{"email": "john@example.com"}]))

    assert transformed.batch.documents == [{"email": "j***@example.com"}]


def test_rhai_scripts_are_kept_and_said_not_to_run() -> None:
    config = PROVIDER.config.model_validate({"name": "old", "script_path": "./scripts", "engine": {"kind": "rhai"}})

    assert "rhai" in (PROVIDER.unavailable(config) or "")


async def test_a_rhai_script_is_not_opened(opened: OpenScript) -> None:
    with pytest.raises(ProviderUnavailable, match="rhai"):
        await opened("fn transform(d, a) {}", service={"engine": {"kind": "rhai"}})


@pytest.mark.parametrize(
    "wrong",
    [
        {"engine": {"kind": "lua"}},
        {"engine": {"kind": "python", "version": 3}},
        {"script_path": ""},
        {"sources": [{"filename": "../x.py", "content": ""}]},
        {"sources": [{"filename": "..", "content": ""}]},
        {"deadline_ms": 0},
        {"folder": "."},
    ],
)
def test_a_definition_that_is_wrong_is_refused(wrong: dict[str, Any]) -> None:
    right = {"name": "scripts", "script_path": "./scripts", "engine": {"kind": "python"}}
    PROVIDER.config.model_validate(right)

    with pytest.raises(ValidationError):
        PROVIDER.config.model_validate(right | wrong)


async def test_the_deadline_of_the_ref_goes_before_that_of_the_service(opened: OpenScript) -> None:
    text = "def transform(data): return data\n"
    expected = [(None, {}, 30), ({"deadline_ms": 500}, {}, 0.5), ({"deadline_ms": 500}, {"deadline_ms": 250}, 0.25)]

    for service, options, seconds in expected:
        middleware: Any = await opened(text, service=service, **options)

        assert middleware.deadline_sec == seconds
