"""A private PostgreSQL."""

from __future__ import annotations

import signal
from pathlib import Path

import psycopg

from tests.servers.process import ServerFailed, ServerProcess, find_program

USER = "mstream"
#: Known to every test, so that one can look for it where it must not appear.
PASSWORD = "planted-postgres-password"
ADVICE = "apt-get install postgresql"


def program(name: str) -> Path | None:
    """A program of PostgreSQL: Debian keeps them off the path, one folder per version; the newest counts."""
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda each: [int(part) for part in each.parent.name.split(".") if part.isdigit()],
        reverse=True,
    )
    return find_program([name], versions)


def is_installed() -> bool:
    return program("postgres") is not None and program("initdb") is not None


class PostgresServer(ServerProcess):
    """A commit survives a crash of the server, not of the machine: nothing waits for the disk."""

    stop_signal = signal.SIGINT  # "fast": connections are closed, not waited for
    crash_signal = signal.SIGQUIT  # "immediate": no checkpoint, the log is replayed at the next start
    accounts = ("postgres",)

    def __init__(self) -> None:
        super().__init__("postgres")
        self._databases = 0
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self.run(
            [
                _needed("initdb"),
                *("--pgdata", str(self.folder / "data"), "--username", USER, "--pwfile", str(secret)),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
            ]
        )

    def command(self) -> list[str]:
        settings = {
            "fsync": "off",
            "shared_buffers": "32MB",
            "max_connections": "100",
            "unix_socket_directories": "",
            "listen_addresses": "127.0.0.1",
            "wal_level": "logical",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [_needed("postgres"), "-D", str(self.folder / "data"), "-p", str(self.port), *options]

    def greet(self) -> None:
        self._connect().close()

    def create_database(self) -> str:
        """A new, empty database; its SQLAlchemy URL."""
        self._databases += 1
        name = f"fresh_{self._databases}"
        with self._connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        return f"postgresql+psycopg://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{name}"

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=PASSWORD,
            dbname="postgres",
            connect_timeout=10,
            autocommit=True,
        )


def _needed(name: str) -> str:
    found = program(name)
    if found is None:
        message = f"{name} is missing: {ADVICE}"
        raise ServerFailed(message)
    return str(found)
