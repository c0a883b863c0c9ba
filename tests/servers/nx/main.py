"""Runs nx-27017 for collections of any name, and with bytes in what replaces a document.

By itself it takes letters, digits and underscores alone, and bytes in new documents alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from neosqlite.collection import query_helper
from neosqlite.collection.query_helper.crud_operations import CRUDOperationsMixin
from nx_27017 import handler, nx_27017

_COMMANDS = ("aggregate", "count", "create", "createIndexes", "delete", "distinct", "drop", "dropIndexes", "find")
_MORE = ("findAndModify", "insert", "listIndexes", "update", "collection")


def accepted(name: str) -> str:
    """The name by which the server knows a collection."""
    return name if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) else f"named_{name.encode().hex()}"


def translating(handle: Callable[..., Any]) -> Callable[..., Any]:
    """The handler behind the translation."""

    def handled(self: Any, message: dict[str, Any]) -> Any:
        for kind, body in message.get("sections", ()):
            if kind == "body":
                for command in (*_COMMANDS, *_MORE):
                    if isinstance(body.get(command), str):
                        body[command] = accepted(body[command])
        return handle(self, message)

    return handled


def with_bytes(replace: Callable[..., Any]) -> Callable[..., Any]:
    """The replacement as an insertion would take it."""

    def replaced(self: Any, number: Any, document: dict[str, Any]) -> Any:
        return replace(self, number, query_helper._convert_bytes_to_binary(document))

    return replaced


CRUDOperationsMixin._internal_replace = with_bytes(CRUDOperationsMixin._internal_replace)
handler.NeoSQLiteHandler.handle_command = translating(handler.NeoSQLiteHandler.handle_command)
handler.NeoSQLiteHandler.handle_insert = translating(handler.NeoSQLiteHandler.handle_insert)

if __name__ == "__main__":
    nx_27017.main()
