"""Secrets planted in every field of every provider's model that can hold one, and a search that finds them again."""

from __future__ import annotations

import base64
import itertools
import json
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin
from urllib.parse import quote

from pydantic import BaseModel

from mstream.domain.service import ServiceConfig
from mstream.foundation.secrets import Secret
from mstream.ports.provider import Catalog

MARK = "pl4nted"
#: Nobody listens there.
NOWHERE = "127.0.0.1:1"
#: Fields whose values have a form; every brace is a place for a secret of its own.
FORMS = {
    "sql.url": f"postgresql://{{}}:{{}}@{NOWHERE}/db?sslpassword={{}}&options={{}}",
    "mongodb.connection_string": f"mongodb://{{}}:{{}}@{NOWHERE}/?authSource={{}}&tlsCertificateKeyFilePassword={{}}",
    "http.host": f"http://{{}}:{{}}@{NOWHERE}/in?access_token={{}}&api_key={{}}",
    "schema_registry.url": f"http://{{}}:{{}}@{NOWHERE}",
    "file.path": "./data",
    "pubsub.auth.account_key_path": "/nowhere/key.json",
    "pubsub.auth.env_token_name": "PLANTED_TOKEN",
    "udf.script_path": "scripts",
    "udf.sources.filename": "own.py",
    "udf.sources.content": "KEY = '{}'\n\ndef transform(data):\n    raise ValueError(KEY + '{}')\n",
}
#: Free-form options, where a model takes any.
FREE = {
    "kafka": ["sasl.username", "sasl.password", "client.id", "ssl.key.pem", "sasl.oauthbearer.config", "http.headers.x"]
}


@dataclass
class Garden:
    """Definitions with secrets in them, and every secret that was planted."""

    folder: Path
    #: Value -> where it was planted.
    planted: dict[str, str] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(100))

    def secret(self, where: str) -> str:
        value = f"{MARK}{next(self._numbers)}x"
        self.planted[value] = where
        return value

    def by_variable(self, where: str, text: str) -> str:
        """A reference to it; the text holds secrets."""
        name = f"VARIABLE_{next(self._numbers)}"
        self.environ[name] = text
        return f"env:{name}"

    def by_file(self, text: str) -> str:
        path = self.folder / f"secret-{next(self._numbers)}"
        path.write_text(text + "\n")
        return f"file:{path}"

    def text(self, path: str) -> str:
        """A value for the field at this path."""
        form = FORMS.get(path, "{}")
        return form.format(*(self.secret(path) for _ in range(form.count("{}"))))

    def definitions(self, catalog: Catalog) -> dict[str, dict[str, Any]]:
        """One of every provider, every kind of every part of it, with literal secrets; and the same with references."""
        found: dict[str, dict[str, Any]] = {}
        self.environ["PLANTED_TOKEN"] = self.secret("pubsub.auth, in a variable")
        for provider in catalog:
            for number, table in enumerate(self._tables(provider.config, provider.name)):
                name = f"{provider.name}-{number}"
                found[name] = {**table, "provider": provider.name, "name": name}
                found |= self._referring(provider.config, found[name])
        return found

    def _referring(self, model: type[ServiceConfig], table: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every text field that may be a reference is one, alternately to a variable and to a file."""
        for kind in ("env", "file"):
            changed: dict[str, Any] = dict(table, name=f"{table['name']}-{kind}")
            for key, value in table.items():
                if isinstance(value, str) and MARK in value and key not in model.public:
                    path = f"{table['provider']}.{key}"
                    text = self.text(path)
                    changed[key] = self.by_variable(path, text) if kind == "env" else self.by_file(text)
            if changed != {**table, "name": changed["name"]}:
                yield changed["name"], changed

    def _tables(self, model: type[BaseModel], path: str) -> Iterator[dict[str, Any]]:
        """The model's fields; as many tables as its most various part has kinds."""
        public = model.public if issubclass(model, ServiceConfig) else frozenset[str]()
        various: dict[str, list[Any]] = {}
        for key, info in model.model_fields.items():
            at = f"{path}.{key}"
            if key in {"provider", "name"} and issubclass(model, ServiceConfig):
                continue
            values = list(self._values(info.annotation, at, hidden=key not in public or at in FORMS))
            if values:
                various[key] = values
        for option in FREE.get(path, ()):
            various[option] = [self.secret(f"{path}.{option}")]
        count = max((len(each) for each in various.values()), default=1)
        for number in range(count):
            yield {key: each[min(number, len(each) - 1)] for key, each in various.items()}

    def _values(self, kind: Any, path: str, *, hidden: bool) -> Iterator[Any]:
        origin, parts = get_origin(kind), get_args(kind)
        if origin is typing.Annotated:
            yield from self._values(parts[0], path, hidden=hidden)
        elif origin in {typing.Union, types.UnionType}:
            for each in parts:
                yield from self._values(each, path, hidden=hidden)
        elif origin is Literal:
            yield from parts
        elif origin in {tuple, list}:
            yield from ([each] for each in self._values(parts[0], path, hidden=hidden))
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from self._tables(kind, path)
        elif kind in {str, Secret} and hidden:
            yield self.text(path)
        elif kind is str and path.count(".") == 1 and path.split(".", maxsplit=1)[0] != "sql":
            yield "shown"


def written(value: str) -> list[bytes]:
    """Every way in which a text may be written down without being hidden."""
    raw = value.encode()
    turned = [base64.b64encode(b"\0" * shift + raw)[(0, 2, 3)[shift] :] for shift in range(3)]
    return [raw, raw.hex().encode(), value.encode("utf-16-le"), quote(value).encode(), *(each[:-4] for each in turned)]


def found_in(planted: Mapping[str, str], haystacks: Mapping[str, str | bytes]) -> list[str]:
    """What was found where, in sentences."""
    found = []
    for name, stack in haystacks.items():
        raw = stack.encode("utf-8", "surrogateescape") if isinstance(stack, str) else stack
        for value, where in planted.items():
            if any(each in raw for each in written(value)):
                found.append(f"{where} ({value}) in {name}")
    return found


def toml(table: Mapping[str, Any]) -> str:
    """One service of a file: JSON is TOML for texts and lists of them."""
    return "[[services]]\n" + "".join(f"{json.dumps(key)} = {_inline(each)}\n" for key, each in table.items())


def _inline(value: Any) -> str:
    match value:
        case dict():
            return "{ " + ", ".join(f"{json.dumps(key)} = {_inline(each)}" for key, each in value.items()) + " }"
        case list():
            return "[" + ", ".join(map(_inline, value)) + "]"
        case _:
            return json.dumps(value)
