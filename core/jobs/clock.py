"""The database's own time, as SQL: leases and deadlines never depend on the clock of a worker."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Double
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class database_now(FunctionElement[float]):  # noqa: N801 - it reads as the SQL function it is
    """Seconds since 1970-01-01 UTC, to the millisecond, by the clock of the database."""

    type = Double()
    inherit_cache = True
    name = "database_now"


@compiles(database_now, "sqlite")
def _sqlite(element: database_now, compiler: Any, **_: Any) -> str:
    del element, compiler
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_now, "postgresql")
def _postgresql(element: database_now, compiler: Any, **_: Any) -> str:
    del element, compiler
    # clock_timestamp, not now(): a transaction that waited for a lock must not write a lease that is already old.
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"
