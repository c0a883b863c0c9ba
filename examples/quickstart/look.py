"""Show the last orders in the table."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from pathlib import Path


def main() -> int:
    """Print the last ten rows, oldest first."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent / "out"
    path = folder / "warehouse.db"
    if not path.exists():
        print(f"there is no {path} yet; start the quick start first", file=sys.stderr)
        return 1
    with contextlib.closing(sqlite3.connect(path, timeout=10)) as connection:
        query = "SELECT order_id, placed_at, email, phone, total, currency FROM orders ORDER BY order_id DESC LIMIT 10"
        for row in reversed(connection.execute(query).fetchall()):
            print("{:>7}  {}  {:<18} {:<14} {:>8.2f} {}".format(*row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
