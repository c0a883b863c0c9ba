"""nx-27017 with transactions that exclude each other, and that end with the connection that has begun them.

By itself it lets a transaction that begins meanwhile become part of the open one, keeps open for ever what a client
has begun that is gone, and shows to everybody what is not committed: what never was would count.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from nx_27017 import handler, nx_27017  # noqa: E402 - the path to it comes first

from tests.servers.nx import NxServer, main  # noqa: E402 - the same

_REFUSED = {
    "ok": 0,
    "code": 112,
    "codeName": "WriteConflict",
    "errmsg": "another transaction is open",
    "errorLabels": ["TransientTransactionError"],
}

Handler = handler.NeoSQLiteHandler


class NxWithTransactions(NxServer):
    """The stand-in for flows whose transactions are cut off."""

    def command(self) -> list[str]:
        plain = str(Path(main.__file__))
        return [str(Path(__file__)) if each == plain else each for each in super().command()]


class _Transactions:
    """Which connection has begun the transaction of a session."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun: dict[Any, str] = {}

    def exclusive(self, handle: Callable[..., Any]) -> Callable[..., Any]:
        """The handler of commands: a second transaction of a database is refused while one is open, a look waits."""

        def handled(server: Any, message: dict[str, Any]) -> Any:
            body = next((each for kind, each in message.get("sections", ()) if kind == "body"), {})
            begins = body.get("startTransaction")
            if not begins and "find" not in body:
                return handle(server, message)
            session = handler._extract_session_id(body["lsid"]) if "lsid" in body else None
            while True:
                with self._lock:
                    if all(sid == session or db != body["$db"] for sid, db in _open(server)):
                        if begins:
                            self._begun[session] = message["_conn_id"]
                        return handle(server, message)
                if begins:
                    return message.get("request_id", 0), dict(_REFUSED)
                time.sleep(0.002)

        return handled

    def ending(self, close: Callable[..., None]) -> Callable[..., None]:
        """What happens when a connection is lost: its transactions are undone."""

        def closed(server: Any, connection: Any) -> None:
            with self._lock:
                lost = [session for session, each in self._begun.items() if each == connection]
                for session in lost:
                    del self._begun[session]
                    for each in server._tx_sessions(session):
                        each.abort_transaction()
            close(server, connection)

        return closed


def _open(server: Any) -> list[tuple[str, str]]:
    with server._sessions_lock:
        return [key for key, each in server._sessions.items() if each.in_transaction]


if __name__ == "__main__":
    transactions = _Transactions()
    Handler.handle_command = transactions.exclusive(Handler.handle_command)
    Handler.handle_insert = transactions.exclusive(Handler.handle_insert)
    Handler.close_streams_for_connection = transactions.ending(Handler.close_streams_for_connection)
    nx_27017.main()
