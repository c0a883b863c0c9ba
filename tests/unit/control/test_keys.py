"""Where keys come from, and that they show nowhere."""

from __future__ import annotations

import asyncio
import sys
import traceback
from pathlib import Path

import pytest

from mstream.control.keys import Origin
from mstream.errors import KeyUnusable
from mstream.stores.encryption import Key
from tests.unit.control.vaults import Home

RAW, OTHER = bytes(range(32)), bytes(range(32, 64))
HEX = RAW.hex()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def command(home: Home, code: str, *arguments: str) -> None:
    home.settings["encryption_key_command"] = [sys.executable, "-c", code, *arguments]


def is_alive(pid: Path) -> bool:
    """Whether the process whose id the file holds, if it came to that, does anything still."""
    status = Path(f"/proc/{pid.read_text() if pid.exists() else 'none'}/stat")
    return status.exists() and status.read_text().split()[2] != "Z"


async def test_the_variable_wins_over_command_and_file(home: Home) -> None:
    home.environ["MSTREAM_ENC_KEY"] = f"{HEX},{OTHER.hex()}"
    command(home, "raise SystemExit(1)")
    home.write_key(OTHER)

    ring = await home.source().read()

    assert ring is not None
    assert ring.keys == (Key(RAW), Key(OTHER))
    assert home.source().origin is Origin.VARIABLE


async def test_an_empty_variable_is_an_error_and_not_a_reason_to_look_elsewhere(home: Home) -> None:
    home.environ["MSTREAM_ENC_KEY"] = ""
    home.write_key(RAW)

    with pytest.raises(KeyUnusable, match="MSTREAM_ENC_KEY is set, but empty"):
        await home.source().read()


@pytest.mark.parametrize(
    "code", [f"print('{HEX}')", f"import sys; sys.stdout.buffer.write(bytes.fromhex('{HEX}'))"], ids=["hex", "raw"]
)
async def test_a_command_prints_the_keys(home: Home, code: str) -> None:
    command(home, code)
    home.write_key(OTHER)

    ring = await home.source().read()

    assert ring is not None
    assert ring.keys == (Key(RAW),)


async def test_a_command_runs_without_a_shell(home: Home, tmp_path: Path) -> None:
    command(home, f"import sys; print('{HEX}') if sys.argv[1] == '$(touch x); *' else print('no')", "$(touch x); *")

    assert await home.source().read() is not None


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (f"import sys; print('{HEX}'); sys.stderr.write('{HEX}'); sys.exit(3)", "exit code 3"),
        (f"print('x{HEX}')", "is not a key"),
        ("pass", "is empty"),
    ],
)
async def test_a_command_that_fails_is_told_without_what_it_printed_or_was_given(
    home: Home, code: str, told: str
) -> None:
    command(home, code, "--token=s3cret")

    with pytest.raises(KeyUnusable, match=told) as caught:
        await home.source().read()

    text = "".join(traceback.format_exception(caught.value))
    assert HEX not in text
    assert "s3cret" not in str(caught.value)


async def test_a_command_that_is_not_there_is_told(home: Home) -> None:
    home.settings["encryption_key_command"] = [str(home.folder / "missing")]

    with pytest.raises(KeyUnusable, match="cannot be started"):
        await home.source().read()


async def test_a_command_that_takes_too_long_is_ended_with_all_that_it_has_started(home: Home) -> None:
    pid = home.folder / "pid"
    command(
        home,
        "import os, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pid)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(600)",
    )

    with pytest.raises(KeyUnusable, match="no key within"):
        await home.source(limit=3).read()

    # Ended by a signal, which the kernel delivers when it comes to it.
    for _ in range(100):
        if not is_alive(pid):
            break
        await asyncio.sleep(0.1)
    assert not is_alive(pid)


async def test_without_anything_there_is_no_ring(home: Home) -> None:
    assert await home.source().read() is None


async def test_the_default_is_a_file_in_the_working_directory(home: Home) -> None:
    from mstream.config.system import System
    from mstream.control.keys import KeySource

    assert str(KeySource(System(), {}).path) == "mstream.key"


async def test_a_ring_in_use_is_read_again_on_request(home: Home) -> None:
    home.write_key(RAW)
    vault = await home.vault()
    home.write_key(OTHER, RAW)

    await vault.keys.reload()

    assert vault.keys.ring.keys == (Key(OTHER), Key(RAW))
    assert vault.keys.changed.is_set()


@pytest.mark.parametrize("what", ["wrong", "gone", "broken", "open to others"])
async def test_a_ring_that_is_not_the_stores_leaves_the_one_before_in_use(home: Home, what: str) -> None:
    home.write_key(RAW)
    vault = await home.vault()
    match what:
        case "wrong":
            home.write_key(OTHER)
        case "gone":
            home.path.unlink()
        case "broken":
            home.path.write_text(f"{HEX}x")
        case _:
            home.path.chmod(0o644)

    with pytest.raises(KeyUnusable):
        await vault.keys.reload()
    await vault.keys.renew()

    assert vault.keys.ring.keys == (Key(RAW),)
    assert not vault.keys.changed.is_set()
