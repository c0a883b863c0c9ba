"""Set up `.venv` with one set of pinned, hashed wheels: `runtime`, `dev` or `bench`.

The wheels are fetched once, from the registry that pip is configured for, into `.wheelhouse`; every
installation is made from there. Nothing happens while the files that a set depends on stay as they are.
Runs with the standard library alone, on the Python that will be in `.venv`.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WHEELHOUSE = ROOT / ".wheelhouse"
ENVIRONMENT = ROOT / ".venv"
INTERPRETER = ENVIRONMENT / "bin" / "python"
OLDEST = (3, 11)

#: Which requirement files make up a set; each set holds what the ones before it hold.
SETS = {
    "runtime": ("runtime.txt",),
    "dev": ("dev.txt",),
    "bench": ("dev.txt", "bench.txt"),
}


class SetupFailed(Exception):
    """The environment could not be set up; the text says why and what to do."""


def main(arguments: list[str]) -> int:
    """Set up what is asked for; 0 when it is there."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("set", choices=SETS, help="which set to install")
    chosen = parser.parse_args(arguments).set
    try:
        with one_at_a_time():
            provide(chosen)
    except SetupFailed as failure:
        print(f"setup: {failure}", file=sys.stderr)
        return 1
    return 0


def provide(chosen: str) -> None:
    """Bring `.venv` to the chosen set, or to a larger one that is there already."""
    if not is_usable():
        create()
    if any(is_stamped(ENVIRONMENT, each) for each in SETS if includes(each, chosen)):
        return
    files = [ROOT / "requirements" / each for each in SETS[chosen]]
    if not (is_stamped(WHEELHOUSE, chosen) or has_all_wheels(files)):
        say(f"fetching the wheels of the {chosen} set into .wheelhouse")
        fetch(files)
    stamp(WHEELHOUSE, chosen)
    say(f"installing the {chosen} set from .wheelhouse")
    install(files)
    stamp(ENVIRONMENT, chosen)


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait for another setup of the same checkout to end."""
    folder = os.open(ROOT / "requirements", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def includes(larger: str, smaller: str) -> bool:
    """Whether one set holds all of another."""
    order = list(SETS)
    return order.index(larger) >= order.index(smaller)


def is_usable() -> bool:
    """Whether `.venv` runs, and runs a Python that is new enough."""
    if not INTERPRETER.exists():
        return False
    probe = f"import sys, pip; sys.exit(sys.version_info < {OLDEST})"
    return subprocess.run([str(INTERPRETER), "-c", probe], capture_output=True, check=False).returncode == 0


def create() -> None:
    """A new, empty `.venv`; what was there is replaced."""
    if sys.version_info < OLDEST:
        message = (
            f"Python {OLDEST[0]}.{OLDEST[1]} or newer is needed, this is {sys.version.split()[0]}; "
            "name another one: make PYTHON=/path/to/python3"
        )
        raise SetupFailed(message)
    say(f"creating .venv with Python {sys.version.split()[0]}")
    try:
        venv.create(ENVIRONMENT, clear=True, with_pip=True)
    except subprocess.CalledProcessError as error:
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        message = "this Python cannot make environments; on Debian and Ubuntu: apt-get install python3-venv"
        raise SetupFailed(message) from error


def has_all_wheels(files: list[Path]) -> bool:
    """Whether a wheelhouse brought along from elsewhere holds everything already."""
    if not any(WHEELHOUSE.glob("*.whl")):
        return False
    command = [*offline_pip("install"), "--dry-run", "--ignore-installed", "--quiet", *requirement_options(files)]
    return subprocess.run(command, capture_output=True, check=False, cwd=ROOT).returncode == 0


def fetch(files: list[Path]) -> None:
    """Download every wheel of these files, checked against its hash."""
    WHEELHOUSE.mkdir(exist_ok=True)
    command = [str(INTERPRETER), "-m", "pip", "download", "--only-binary", ":all:", "--dest", str(WHEELHOUSE)]
    run(
        [*command, "--quiet", "--disable-pip-version-check", *requirement_options(files)],
        "the wheels could not be fetched; see what pip says above, and which registry `pip config list` names",
    )


def install(files: list[Path]) -> None:
    """Install the wheels, and the package itself in a way that follows its source."""
    advice = "the installation failed; remove .venv and .wheelhouse, then try again"
    run([*offline_pip("install"), "--quiet", *requirement_options(files)], advice)
    run([*offline_pip("install"), "--quiet", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)], advice)


def offline_pip(command: str) -> list[str]:
    """A pip that knows the wheelhouse alone, whatever the machine configures."""
    options = ["--isolated", "--disable-pip-version-check", command, "--no-index", "--find-links", str(WHEELHOUSE)]
    return [str(INTERPRETER), "-m", "pip", *options]


def requirement_options(files: list[Path]) -> list[str]:
    """The options that name these files."""
    return ["--require-hashes", *(word for each in files for word in ("--requirement", str(each)))]


def run(command: list[str], advice: str) -> None:
    """Run to the end; its failure becomes ours."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
    if subprocess.run(command, check=False, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL).returncode != 0:
        raise SetupFailed(advice)


def digest(chosen: str) -> str:
    """Changes when anything that decides about a set changes."""
    content = hashlib.sha256(f"{ROOT}\n".encode())
    for name in (*(f"requirements/{each}" for each in SETS[chosen]), "pyproject.toml"):
        content.update((ROOT / name).read_bytes())
    return content.hexdigest()


def is_stamped(folder: Path, chosen: str) -> bool:
    """Whether the folder holds this set as it is described now."""
    mark = folder / f".set-{chosen}"
    return mark.is_file() and mark.read_text(encoding="ascii") == digest(chosen)


def stamp(folder: Path, chosen: str) -> None:
    """Note that the folder holds this set."""
    (folder / f".set-{chosen}").write_text(digest(chosen), encoding="ascii")


def say(text: str) -> None:
    """One line of progress."""
    print(f"setup: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
