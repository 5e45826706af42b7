"""Pages by cursor: the newest first, and a cursor that says after which id to go on."""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from sqlalchemy import ColumnElement, Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from api.problems import ApiError

_AN_ID = re.compile(r"[a-z]+_[0-9a-f]{32}")
Item = TypeVar("Item")
Row = TypeVar("Row")


class Page(BaseModel, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next_cursor: str | None


def read_page(
    session: Session, query: Select[Row], key: InstrumentedAttribute[str], limit: int, cursor: str | None
) -> tuple[Sequence[Row], str | None]:
    """The rows of one page, newest first, and the cursor of the next page if there is one.

    Raises:
        ApiError: `bad_cursor`.
    """
    if cursor is not None:
        before: ColumnElement[bool] = key < _decode(cursor)
        query = query.where(before)
    rows: Sequence[Any] = session.scalars(query.order_by(key.desc()).limit(limit + 1)).all()
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], base64.urlsafe_b64encode(rows[limit - 1].id.encode()).decode()


def with_tags(
    query: Select[Row], column: InstrumentedAttribute[dict[str, str]], wanted: Sequence[str] | None
) -> Select[Row]:
    """Only the rows that carry all these marks, each `KEY:VALUE`."""
    for one in wanted or ():
        key, _, value = one.partition(":")
        query = query.where(column[key].as_string() == value)
    return query


def _decode(cursor: str) -> str:
    with contextlib.suppress(binascii.Error, ValueError):
        after = base64.b64decode(cursor, altchars=b"-_", validate=True).decode("ascii")
        if _AN_ID.fullmatch(after):
            return after
    raise ApiError("bad_cursor", "The cursor is not one of ours.", "Pass `next_cursor` unchanged.")
