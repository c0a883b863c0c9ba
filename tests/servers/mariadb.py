"""A private MariaDB."""

from __future__ import annotations

from pathlib import Path

import pymysql

from tests.servers.process import ServerFailed, ServerProcess, find_program

USER = "mstream"
#: Known to every test, so that one can look for it where it must not appear.
PASSWORD = "planted-mariadb-password"
ADVICE = "apt-get install mariadb-server"


def server() -> Path | None:
    return find_program(["mariadbd"])


def installer() -> Path | None:
    return find_program(["mariadb-install-db"])


def is_installed() -> bool:
    return server() is not None and installer() is not None


class MariadbServer(ServerProcess):
    """A commit survives a crash of the server, not of the machine: nothing waits for the disk."""

    accounts = ("mysql",)

    def __init__(self) -> None:
        super().__init__("mariadb")
        self._databases = 0
        self.run(
            [
                _needed(installer()),
                "--no-defaults",
                f"--datadir={self.folder / 'data'}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--skip-name-resolve",
                "--innodb-log-file-size=16M",
            ]
        )
        # Carried out at every start, before the first client comes in.
        start_up = self.folder / "start_up.sql"
        start_up.write_text(
            f"CREATE USER IF NOT EXISTS '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON *.* TO '{USER}'@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        start_up.chmod(0o644)

    def command(self) -> list[str]:
        return [
            _needed(server()),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--socket={self.folder / 'server.sock'}",
            f"--pid-file={self.folder / 'server.pid'}",
            f"--init-file={self.folder / 'start_up.sql'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
            "--innodb-buffer-pool-size=64M",
            "--innodb-log-file-size=16M",
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-flush-method=nosync",
            "--max-allowed-packet=64M",
        ]

    def greet(self) -> None:
        self._connect().close()

    def create_database(self) -> str:
        """A new, empty database; its SQLAlchemy URL."""
        self._databases += 1
        name = f"fresh_{self._databases}"
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        return f"mysql+pymysql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{name}?charset=utf8mb4"

    def _connect(self) -> pymysql.Connection[pymysql.cursors.Cursor]:
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, connect_timeout=10, autocommit=True
        )


def _needed(found: Path | None) -> str:
    if found is None:
        message = f"MariaDB is missing: {ADVICE}"
        raise ServerFailed(message)
    return str(found)
