"""Copies of a gallery's items in PostgreSQL with the extension pgvector."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..models.embedding import Embedding
from .filters import METADATA, Condition
from .outside import PLACE, Stored
from .store import LABELS, Columns

__all__ = ["PostgresItems"]

_MOST_DIMS = 16_000  # of a vector of pgvector


class PostgresItems:
    """Items of a gallery in a table of PostgreSQL (extra ``postgres``).

    Candidates are the nearest by the cosine of global embeddings: compared with all items, or by
    an index of pgvector on the column ``features``, if you make one; its recall is pgvector's.

    Args:
        connection: `psycopg.Connection`; each call is a transaction of its own.
        table: Name of the table; it is made by the first `put`.

    Raises:
        ImportError: psycopg or pgvector is missing.
        ValueError: The server has no extension pgvector.
    """

    def __init__(self, connection: Any, table: str) -> None:
        try:
            import psycopg
            from pgvector.psycopg import register_vector
        except ImportError as error:
            raise ImportError(
                "items in PostgreSQL need psycopg and pgvector: pip install 'og-reid[postgres]'"
            ) from error
        self._connection, self._name = connection, table
        self._sql: Any = psycopg.sql
        self._table = psycopg.sql.Identifier(table)
        try:
            with connection.transaction():
                connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except psycopg.Error as error:
            raise ValueError(
                f"connection must be to a server with the extension pgvector: {error}"
            ) from error
        register_vector(connection)

    def __len__(self) -> int:
        """Number of items."""
        with self._connection.transaction():
            if not self._is_there():
                return 0
            query = self._sql.SQL("SELECT count(*) FROM {}").format(self._table)
            return int(self._connection.execute(query).fetchone()[0])

    def put(self, columns: Columns, form: Stored) -> None:
        """Adds items, see `og_reid.gallery.outside.ItemEngine.put`."""
        layout = form.layout
        if not 0 < layout.features <= _MOST_DIMS:
            raise ValueError(
                f"items must have global embeddings of 1 to {_MOST_DIMS:,} numbers for pgvector; "
                f"got {layout.features:,}"
            )
        sql = self._sql
        names = [*LABELS, PLACE, "model", "features", "packed"]
        changed = [sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(n)) for n in names[1:]]
        with self._connection.transaction(), self._connection.cursor() as cursor:
            self._make(layout.features)
            query = sql.SQL("SELECT 1 FROM {} WHERE model <> %s LIMIT 1").format(self._table)
            if cursor.execute(query, (form.digest,)).fetchone():
                raise ValueError(
                    f"table {self._name} must hold items of one model; it has others than those "
                    f"of digest {form.digest[:12]}: give another table"
                )
            query = sql.SQL(
                "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT (id) DO UPDATE SET {}"
            ).format(
                self._table, sql.SQL(", ").join(map(sql.Identifier, names)),
                sql.SQL(", ").join([sql.Placeholder()] * len(names)), sql.SQL(", ").join(changed),
            )  # fmt: skip
            packed = columns.get("packed")
            cursor.executemany(
                query,
                [
                    (
                        *(columns[name][row] for name in (*LABELS, PLACE)), form.digest,
                        columns["features"][row], None if packed is None else packed[row].tobytes(),
                    )
                    for row in range(len(columns["id"]))
                ],
            )  # fmt: skip

    def remove(self, ids: Sequence[str]) -> None:
        """Removes items; their bytes leave the files of the server with its next VACUUM FULL."""
        query = self._sql.SQL("DELETE FROM {} WHERE id = ANY(%s)").format(self._table)
        with self._connection.transaction():
            self._connection.execute(query, (list(ids),))

    def nearest(
        self,
        query: Embedding,
        count: int,
        conditions: Sequence[Condition],
        left_out: Mapping[str, str],
        form: Stored,
    ) -> Columns:
        """Candidates of a query, see `og_reid.gallery.outside.ItemEngine.nearest`."""
        assert query.features is not None
        sql, layout = self._sql, form.layout
        wanted, values = [sql.SQL("model = %s")], list[Any]([form.digest])
        for each in conditions:
            text, given = self._holds(each)
            wanted.append(text)
            values += given
        for name, value in left_out.items():
            wanted.append(sql.SQL("{} IS DISTINCT FROM %s").format(sql.Identifier(name)))
            values.append(value)
        names = [*LABELS, PLACE, "features", *(["packed"] if layout.packed_bytes else [])]
        asked = sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY features <=> %s, {} LIMIT %s").format(
            sql.SQL(", ").join(map(sql.Identifier, names)), self._table,
            sql.SQL(" AND ").join(wanted), sql.Identifier(PLACE),
        )  # fmt: skip
        with self._connection.transaction():
            values += [query.features[0].float().numpy(), count]
            rows = self._connection.execute(asked, values).fetchall()
        columns: Columns = {name: [row[n] for row in rows] for n, name in enumerate(names)}
        columns["metadata"] = [
            None if each is None else json.dumps(each, sort_keys=True)
            for each in columns["metadata"]
        ]
        found = [np.asarray(_numbers(each), np.float32) for each in columns["features"]]
        columns["features"] = np.array(found, np.float32).reshape(-1, layout.features)
        if layout.packed_bytes:
            joined = b"".join(map(bytes, columns["packed"]))
            columns["packed"] = np.frombuffer(joined, np.uint8).reshape(-1, layout.packed_bytes)
        return columns

    def _is_there(self) -> bool:
        found = self._connection.execute(
            "SELECT to_regclass(%s)", (self._table.as_string(self._connection),)
        )
        return found.fetchone()[0] is not None

    def _make(self, dims: int) -> None:
        sql = self._sql
        kinds = {"id": "text PRIMARY KEY", "time": "bigint", "metadata": "jsonb"}
        fields = [
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kinds.get(name, "text")))
            for name in LABELS
        ]
        fields += [
            sql.SQL("place bigint NOT NULL"), sql.SQL("model text NOT NULL"),
            sql.SQL("features vector({}) NOT NULL").format(sql.Literal(dims)),
            sql.SQL("packed bytea"),
        ]  # fmt: skip
        query = sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})")
        self._connection.execute(query.format(self._table, sql.SQL(", ").join(fields)))

    def _holds(self, condition: Condition) -> tuple[Any, list[Any]]:
        """Text of a condition, and its values: they are parameters, never text of the query."""
        sql, name, values = self._sql, condition.field, condition.values
        inside = name.startswith(METADATA)
        column = sql.Identifier("metadata" if inside else name)
        given: list[Any] = []
        if inside:
            key = name.removeprefix(METADATA)
            column = sql.SQL("({} -> {})").format(column, sql.Literal(key))
        if values is not None:
            known: list[Any] = [each for each in values if each is not None]
            kind = "jsonb" if inside else "bigint" if name == "time" else "text"
            known = [json.dumps(each) for each in known] if inside else known
            text = sql.SQL("{} = ANY(%s::{})").format(column, sql.SQL(f"{kind}[]"))
            if len(known) < len(values):
                none = sql.SQL("({} OR {} IS NULL OR {} = 'null'::jsonb)")
                plain = sql.SQL("({} OR {} IS NULL)")
                text = none.format(text, column, column) if inside else plain.format(text, column)
            return text, [known]
        bounds = ((">=", condition.low), ("<=", condition.high), ("<", condition.below))
        parts = []
        for sign, bound in bounds:
            if bound is None:
                continue
            if inside:
                number = not isinstance(bound, str)
                part = sql.SQL(
                    "CASE WHEN jsonb_typeof({0}) = {1} THEN {2} {3} %s ELSE false END"
                ).format(
                    column, sql.Literal("number" if number else "string"),
                    sql.SQL("({0})::numeric" if number else "({0} #>> '{{}}') COLLATE \"C\"")
                    .format(column),
                    sql.SQL(sign),
                )  # fmt: skip
            else:
                order = sql.SQL("" if name == "time" else ' COLLATE "C"')
                part = sql.SQL("{}{} {} %s").format(column, order, sql.SQL(sign))
            parts.append(part)
            given.append(bound)
        return sql.SQL(" AND ").join(parts) if parts else sql.SQL("true"), given


def _numbers(value: Any) -> Any:
    """Numbers of a vector of pgvector, in each of its versions."""
    return value.to_numpy() if hasattr(value, "to_numpy") else value
