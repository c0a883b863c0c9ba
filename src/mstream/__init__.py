"""A streaming bridge with durable state: records flow between systems, and nothing is lost.

To embed it: `asyncio.run(mstream.run("mstream-config.toml", until_idle=2))`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

try:
    __version__ = version("mstream")
except PackageNotFoundError:  # a source tree that nobody has installed
    __version__ = "0+unknown"

# What embedders use. It is loaded when it is used: all layers lie below this name, and none may lead back to them.
__all__ = ["Config", "__version__", "run"]

_HOMES = {"run": ("mstream.bootstrap.program", "run"), "Config": ("mstream.config.document", "ConfigFile")}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - each name is something else
    """The names of `_HOMES`, from the modules that have them."""
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
