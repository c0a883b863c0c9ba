"""Code blocks of the pages: what their first lines say, and running those that ask for it.

The blocks of a page are run as one script of bash, in a fresh folder, as somebody would type them:

- `sh test` must end with 0, `sh test=3` with 3;
- `toml file=a/b.toml` is written there, as is a block of any other language;
- `python test` is run by Python.

What is started in the background ends with the page. Port 8719 is replaced by a free one.
"""

from __future__ import annotations

import os
import random
import re
import shlex
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_BLOCK: Final = re.compile(r"^( *)```(\w+)([^\n]*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_END: Final = "END_OF_THIS_BLOCK"
#: Seconds for one page; the machine may be busy.
_PATIENCE: Final = 240
#: Ends what runs in the background, and waits for it.
_EPILOGUE: Final = "trap 'kill $(jobs -p) 2>/dev/null || true; wait || true' EXIT\nset -euo pipefail\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block."""

    language: str
    #: What stands behind the language: `test`, `test=3`, `file=x.toml`.
    marks: Mapping[str, str]
    text: str


def blocks_of(text: str) -> list[Block]:
    """Every block of a page, in its order."""
    found = []
    for indent, language, words, body in _BLOCK.findall(text):
        marks = {name: value for name, _, value in (each.partition("=") for each in words.split())}
        lines = [line.removeprefix(indent) for line in body.splitlines(keepends=True)]
        found.append(Block(language=language, marks=marks, text="".join(lines)))
    return found


def failures(page: Path) -> Iterator[str]:
    """Run the page's marked blocks; what did not go as it says."""
    steps = [step for each in blocks_of(page.read_text()) if (step := _step(each))]
    if not steps:
        return
    port = str(_free_port())
    environ = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MSTREAM_API_PORT": port,
    }
    script = (_EPILOGUE + "\n".join(steps)).replace("8719", port)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as output:
        try:
            done = subprocess.run(
                ["/bin/bash", "-c", script],
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=_PATIENCE,
                check=False,
            )
            problem = f"ended with {done.returncode}" if done.returncode else ""
        except subprocess.TimeoutExpired:
            problem = f"did not end within {_PATIENCE} seconds"
        if problem:
            output.seek(0)
            yield f"{page.name}: its blocks {problem}:\n{output.read()[-4000:]}"


def _step(block: Block) -> str | None:
    """The block as a piece of the page's script; None: it is only to be read."""
    if path := block.marks.get("file"):
        folder = shlex.quote(str(Path(path).parent))
        return f"mkdir -p {folder}; cat > {shlex.quote(path)} <<'{_END}'\n{block.text}{_END}"
    if "test" not in block.marks:
        return None
    text = block.text if block.language != "python" else f"python - <<'{_END}'\n{block.text}{_END}"
    told = f"echo {shlex.quote('+ ' + block.text.strip())}\n"
    wanted = block.marks["test"]
    if not wanted:
        return told + text
    return f"{told}code=0; (\n{text}\n) || code=$?\n[ $code = {int(wanted)} ]"


def _free_port() -> int:
    """Below the range from which the kernel gives ports to clients: nobody is given it before the block comes to it."""
    choose = random.SystemRandom()
    while True:
        port = choose.randrange(20_000, 30_000)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
