"""Where tests that install something take their wheels from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WHEELHOUSE = ROOT / ".wheelhouse"


def pip_install(python: Path) -> list[str]:
    """An installing pip: offline from the wheelhouse where there is one, else from the configured registry."""
    pip = [str(python), "-m", "pip"]
    if any(WHEELHOUSE.glob("*.whl")):
        return [*pip, "--isolated", "install", "--quiet", "--no-index", "--find-links", str(WHEELHOUSE)]
    return [*pip, "install", "--quiet", "--only-binary", ":all:"]


def succeeded(command: list[str], *, cwd: Path = ROOT) -> str:
    """Run to the end, which must be a good one; what it printed."""
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}"
    return result.stdout


def build_wheel(folder: Path) -> Path:
    """The wheel of this source."""
    succeeded([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)])
    (wheel,) = folder.glob("*.whl")
    return wheel
