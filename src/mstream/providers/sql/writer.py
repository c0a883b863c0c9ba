"""Writes batches into one table; blocking, called in one thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import sqlalchemy as sa

from mstream.domain.batch import Operation
from mstream.errors import OutcomeUnknown, RecordRefused, ResourceMissing
from mstream.foundation.clock import monotonic
from mstream.ports.checkpoints import CheckpointEntry
from mstream.ports.roles import Failure

from .columns import same
from .config import Dialect, SqlSinkOptions, WriteMode
from .documents import write_entry
from .faults import OF_A_RECORD, Fault, fault_of, service_error, told
from .grammar import Grammar
from .planning import Fields, Plan, Table, plan
from .rows import Entry, RowMaker, Step, fields_of, in_turn, sort, steps
from .schema import apply, grammar_of, read_table, would_lose
from .service import PATIENCE, SqlService, pause
from .tables import make_table, table_of

#: How often a table is looked at again because somebody else changes it at the same time.
_LOOKS = 3
#: Keys that are looked up by one statement.
_KEYS = 100


class TableWriter:
    """One connection, one table, one batch after another."""

    def __init__(self, service: SqlService, resource: str, options: SqlSinkOptions) -> None:
        self._service = service
        self._name = resource
        self._options = options
        self._what = f"service {service.config.name!r}, table {resource!r}"
        self._connection: sa.Connection | None = None
        self._grammar: Grammar | None = None
        self._table: Table | None = None

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def write(
        self,
        documents: Sequence[Any],
        operations: Sequence[Operation] | None,
        entries: Sequence[CheckpointEntry] | None = None,
    ) -> list[Failure]:
        """Write what can be written; with checkpoint entries everything or nothing.

        Raises a ServiceError when the whole batch may have failed.
        """
        for look in range(1, _LOOKS + 1):
            try:
                return self._write(documents, operations, entries)
            except self._service.failures as error:
                self._drop()
                if fault_of(error) is not Fault.MISSING or look == _LOOKS:
                    raise service_error(error, self._what) from None
                self._make_checkpoints(entries or ())  # or the table is not as we knew it
        raise AssertionError

    def _make_checkpoints(self, entries: Sequence[CheckpointEntry]) -> None:
        try:
            for resource in {each.resource for each in entries}:
                make_table(self._service, table_of(resource, self._service.dialect))
        except self._service.failures as error:
            raise service_error(error, self._what) from None

    def _write(
        self,
        documents: Sequence[Any],
        operations: Sequence[Operation] | None,
        entries: Sequence[CheckpointEntry] | None,
    ) -> list[Failure]:
        found = sort(documents, operations, self._options)
        refused = found.refused
        fields = fields_of([documents[each] for each in found.puts], self._options)
        table = self._prepared(fields) if found.puts or found.deletes else None
        if table is None:
            refused.update(dict.fromkeys(found.puts, "a record without any value cannot make a table"))
            return self._delivered([], [], refused, entries)
        maker = RowMaker(table, self._options, self._service.dialect, refused)
        puts = maker.puts(documents, found.puts, fields)
        deletes = maker.deletes(documents, found.deletes)
        if isinstance(puts, Step) and not deletes:
            return self._delivered([puts], [puts], refused, entries)
        if isinstance(puts, Step):
            puts = _as_entries(puts, self._options)
        both = sorted([*puts, *deletes], key=lambda each: each.index)
        overrides = self._options.write_mode is not WriteMode.INSERT
        return self._delivered(steps(both, overrides=overrides), in_turn(both), refused, entries)

    def _delivered(
        self,
        quick: list[Step],
        in_order: list[Step],
        refused: dict[int, str],
        entries: Sequence[CheckpointEntry] | None,
    ) -> list[Failure]:
        if entries is not None and refused:
            return self._failures(refused)
        if quick or entries:
            try:
                self._transact(lambda: self._execute_all(quick), entries)
            except self._service.failures as error:
                if fault_of(error) not in OF_A_RECORD:
                    raise
                self._transact(lambda: self._one_by_one(in_order, refused), entries, refused)
        return self._failures(refused)

    def _failures(self, refused: dict[int, str]) -> list[Failure]:
        return [
            Failure(index=index, error=RecordRefused(f"{self._what}: {refused[index]}")) for index in sorted(refused)
        ]

    # ------------------------------------------------------------------------------------------------- transactions
    def _transact(
        self,
        work: Callable[[], None],
        entries: Sequence[CheckpointEntry] | None,
        refused: dict[int, str] | None = None,
    ) -> None:
        """Commits, unless a record of a transaction that is all or nothing was refused."""
        connection = self._connected()
        transaction = self._begun(connection)
        try:
            work()
            if entries is not None and refused:
                transaction.rollback()
                return
            for each in entries or ():
                write_entry(connection, self._service.dialect, each)
        except BaseException:
            if transaction.is_active:
                self._roll_back(transaction)
            raise
        self._commit(transaction, is_last_word=entries is not None)
        if self._service.dialect is Dialect.SQLITE:
            pause()  # who waits for the lock gets it

    def _begun(self, connection: sa.Connection) -> sa.RootTransaction:
        deadline = monotonic() + PATIENCE
        while True:
            try:
                return connection.begin()
            except self._service.failures as error:
                if fault_of(error) is not Fault.BUSY or monotonic() > deadline:
                    raise
            pause()

    def _roll_back(self, transaction: sa.RootTransaction) -> None:
        try:
            transaction.rollback()
        except self._service.failures:
            self._drop()  # the connection is gone, and its transaction with it

    def _commit(self, transaction: sa.RootTransaction, *, is_last_word: bool) -> None:
        try:
            transaction.commit()
        except self._service.failures as error:
            self._drop()
            if is_last_word and fault_of(error) in {Fault.UNREACHABLE, Fault.OTHER}:
                message = f"{self._what}: the answer to the commit was lost: {told(error)}"
                raise OutcomeUnknown(message) from None
            raise

    def _connected(self) -> sa.Connection:
        if self._connection is None:
            self._connection = self._service.engine.connect()
        return self._connection

    def _drop(self) -> None:
        """The next write begins with a new connection, and looks at the table again."""
        self._table = None
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                if not self._service.in_memory:
                    connection.invalidate()
                connection.close()
            except self._service.failures:
                pass  # it was broken already

    # --------------------------------------------------------------------------------------------------- statements
    def _execute_all(self, all_steps: list[Step]) -> None:
        for each in all_steps:
            self._execute(each)

    def _execute(self, step: Step) -> None:
        grammar, keys = self._known_grammar(), self._options.keys
        if not step.rows:
            return
        cursor = self._connected().connection.cursor()
        try:
            if step.shape.deletes:
                cursor.executemany(grammar.delete(self._name, keys), step.rows)
                return
            names, mode = step.shape.names, self._options.write_mode
            count = grammar.rows(len(names))
            whole = len(step.rows) - len(step.rows) % count
            if whole:
                statement = grammar.insert(self._name, names, count, mode, keys)
                flat = [list(chain.from_iterable(step.rows[start : start + count])) for start in range(0, whole, count)]
                if grammar.dialect is Dialect.SQLITE:
                    cursor.executemany(statement, flat)
                else:
                    for values in flat:
                        cursor.execute(statement, values)
            rest = step.rows[whole:]
            if rest:
                statement = grammar.insert(self._name, names, len(rest), mode, keys)
                cursor.execute(statement, list(chain.from_iterable(rest)))
        finally:
            cursor.close()

    def _one_by_one(self, in_order: list[Step], refused: dict[int, str]) -> None:
        """Find the records that make a statement fail; all others are written."""
        for each in in_order:
            self._narrowed(self._without_replays(each, refused), refused)

    def _narrowed(self, step: Step, refused: dict[int, str]) -> None:
        if not step.rows:
            return
        try:
            self._in_savepoint(lambda: self._execute(step))
            return
        except self._service.failures as error:
            fault = fault_of(error)
            if fault not in OF_A_RECORD:
                raise
            reason = told(error)
        if len(step.rows) > 1:
            middle = len(step.rows) // 2
            self._narrowed(step.part(0, middle), refused)
            self._narrowed(step.part(middle, len(step.rows)), refused)
        elif fault is Fault.DUPLICATE and self._options.keys:
            # Its key may have come earlier in this very batch.
            if self._without_replays(step, refused).rows:
                refused[step.indexes[0]] = "another unique value of the record is there already"
        else:
            refused[step.indexes[0]] = f"the database does not take it ({reason})"

    def _in_savepoint(self, work: Callable[[], None]) -> None:
        self._say("SAVEPOINT mstream_record")
        try:
            work()
        except self._service.failures as error:
            if fault_of(error) in OF_A_RECORD:
                self._say("ROLLBACK TO SAVEPOINT mstream_record")
            raise
        self._say("RELEASE SAVEPOINT mstream_record")

    def _say(self, statement: str) -> None:
        cursor = self._connected().connection.cursor()
        try:
            cursor.execute(statement)
        finally:
            cursor.close()

    def _without_replays(self, step: Step, refused: dict[int, str]) -> Step:
        """With `insert`, a row that is there with the same content counts as written, with another it is refused."""
        keys, table = self._options.keys, self._table
        if table is None or not keys or self._options.write_mode is not WriteMode.INSERT or step.shape.deletes:
            return step
        names = step.shape.names
        places = [names.index(each) for each in keys]
        others = [n for n, column in table.columns.items() if n not in names and not column.has_default]
        stored: dict[tuple[Any, ...], Any] = {}
        try:
            self._in_savepoint(lambda: stored.update(self._stored([*names, *others], step, places)))
        except self._service.failures as error:
            if fault_of(error) not in OF_A_RECORD:
                raise
            return step  # one of the keys cannot even be asked for: writing will tell which
        left = Step(step.shape)
        kinds = [table.columns[name].kind for name in names]
        for index, row in zip(step.indexes, step.rows, strict=True):
            there = stored.get(tuple(row[at] for at in places))
            if there is None:
                left.indexes.append(index)
                left.rows.append(row)
            elif not all(map(same, there, row, kinds)) or any(each is not None for each in there[len(names) :]):
                refused[index] = "its key is there already, with other content"
        return left

    def _stored(self, names: Sequence[str], step: Step, places: Sequence[int]) -> dict[tuple[Any, ...], Any]:
        found: dict[tuple[Any, ...], Any] = {}
        grammar, keys = self._known_grammar(), self._options.keys
        cursor = self._connected().connection.cursor()
        try:
            for start in range(0, len(step.rows), _KEYS):
                wanted = [tuple(row[at] for at in places) for row in step.rows[start : start + _KEYS]]
                statement = grammar.select(self._name, names, keys, len(wanted))
                cursor.execute(statement, list(chain.from_iterable(wanted)))
                for row in cursor.fetchall():
                    found[tuple(row[at] for at in places)] = tuple(row)
        finally:
            cursor.close()
        return found

    # -------------------------------------------------------------------------------------------------------- table
    def _known_grammar(self) -> Grammar:
        if self._grammar is None:
            self._grammar = grammar_of(self._connected(), self._service.dialect)
        return self._grammar

    def _prepared(self, fields: Fields) -> Table | None:
        """The table with everything that the batch needs; None: nothing says which columns it should have."""
        grammar = self._known_grammar()
        for look in range(1, _LOOKS + 1):
            if self._table is None:
                self._table = self._read()
            needed = plan(self._table, self._name, fields, self._options, grammar.can_be_column)
            if needed.create is not None and not self._options.create_table:
                message = f"{self._what} does not exist, and create_table is false"
                raise ResourceMissing(message)
            if needed.create is not None and not needed.create.columns:
                return None
            needed = self._lossless(needed, grammar)
            if not needed:
                return self._table
            self._change(needed, grammar, is_last=look == _LOOKS)
        self._table = self._read()
        return self._table

    def _read(self) -> Table | None:
        service = self._service
        return service.transact(
            lambda connection: read_table(connection, self._name, service.dialect, self._options), mode="read"
        )

    def _lossless(self, needed: Plan, grammar: Grammar) -> Plan:
        """A column is widened only when every number in it stays the same."""
        if not needed.widen:
            return needed
        kept = [
            each
            for each in needed.widen
            if not self._service.transact(
                lambda connection, each=each: would_lose(connection, self._name, each, grammar),  # type: ignore[misc]  # bound per turn
                mode="read",
            )
        ]
        return Plan(create=needed.create, add=needed.add, widen=kept)

    def _change(self, needed: Plan, grammar: Grammar, *, is_last: bool) -> None:
        """Another writer may do the same at the same time: then the table is looked at again."""
        self._table = None
        try:
            self._service.transact(lambda connection: apply(connection, needed, self._name, grammar))
        except self._service.failures as error:
            if is_last or fault_of(error) in {Fault.UNREACHABLE, Fault.DENIED, Fault.FULL}:
                raise


def _as_entries(step: Step, options: SqlSinkOptions) -> list[Entry]:
    places = [step.shape.names.index(each) for each in options.keys]
    return [
        Entry(index, step.shape, row, tuple(row[at] for at in places))
        for index, row in zip(step.indexes, step.rows, strict=True)
    ]
