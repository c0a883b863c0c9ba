"""Fields of a udf service, and the options of its middleware."""

from __future__ import annotations

import hashlib
import json
from typing import Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from mstream.domain.service import RoleOptions, ServiceConfig
from mstream.foundation.secrets import MASK, is_reference

_VERSION_DIGITS: Final = 12


class Engine(BaseModel):
    """What runs the scripts."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: Literal["python", "rhai"]


class ScriptSource(BaseModel):
    """A script that stands in the definition itself, instead of in a file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    #: One plain name, without folders.
    filename: str = Field(pattern=r"^[^/\\\x00]*[^/\\\x00.][^/\\\x00]*$")
    content: str


class UdfConfig(ServiceConfig):
    """Scripts: a folder of them, or texts in the definition.

    Python scripts are trusted code: they may do whatever the program itself may do.
    """

    public: ClassVar[frozenset[str]] = ServiceConfig.public | {"script_path", "engine", "sources", "deadline_ms"}

    provider: Literal["udf"] = "udf"
    #: The folder of the scripts; relative to the working directory. A resource cannot leave it.
    script_path: str = Field(min_length=1)
    engine: Engine
    #: Scripts in the definition itself; they go before files of the same name.
    sources: tuple[ScriptSource, ...] | None = None
    #: The default of every middleware of this service.
    deadline_ms: int | None = Field(default=None, ge=1)

    def shown(self) -> dict[str, Any]:
        """Scripts by their names: what stands in them may be as secret as any password."""
        names = [{"filename": each.filename, "content": MASK} for each in self.sources or ()]
        return {**super().shown(), **({"sources": names} if self.sources is not None else {})}

    def script_folder(self) -> str | None:
        """Also of what only the file may define: nobody else is to write there."""
        return None if is_reference(self.script_path) else self.script_path

    def script_version(self) -> str | None:
        """The same for the same engine and texts, whatever their order; None: they stand in files alone."""
        if not self.sources:
            return None
        texts = sorted((each.filename, each.content) for each in self.sources)
        text = json.dumps([self.engine.kind, texts])
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_VERSION_DIGITS]


class UdfOptions(RoleOptions):
    """Options of a script as a middleware."""

    #: How long the script may take for a batch; one that takes longer costs the worker that it runs in.
    deadline_ms: int = Field(default=30_000, ge=1)


def unavailable(config: UdfConfig) -> str | None:
    """Rhai scripts are kept with their service but cannot run here."""
    if config.engine.kind == "rhai":
        return (
            "scripts of the engine 'rhai' are kept but cannot run in this version; use engine = { kind = \"python\" }"
        )
    return None
