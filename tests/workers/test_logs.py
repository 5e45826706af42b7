"""Log lines: JSON with the ids of what they are about; the embedded form's are for people."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from workers.logs import configure_logs


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def written(*, for_people: bool) -> str:
    stream = io.StringIO()
    configure_logs(stream, for_people=for_people)
    with structlog.contextvars.bound_contextvars(job="job_1", stage="fuse", attempt=2, tenant="ten_1", request="req_1"):
        try:
            raise ValueError("broken")
        except ValueError:
            structlog.get_logger("a").exception("stage failed")
        logging.getLogger("some.library").warning("from a library")
    return stream.getvalue()


def test_a_line_is_one_json_object_with_its_ids() -> None:
    ours, theirs = [json.loads(line) for line in written(for_people=False).splitlines()]
    ids = {"job": "job_1", "stage": "fuse", "attempt": 2, "tenant": "ten_1", "request": "req_1"}
    assert ids.items() <= ours.items()
    assert (ours["event"], ours["level"]) == ("stage failed", "error")
    assert "ValueError: broken" in ours["exception"]
    assert theirs["event"] == "from a library"
    assert ids.items() <= theirs.items()


def test_for_people_it_is_text_with_the_same_ids() -> None:
    text = written(for_people=True)
    assert "stage failed" in text
    assert "job=job_1" in text
    assert "Traceback" in text
    with pytest.raises(ValueError, match=r"Expecting value|Extra data"):
        json.loads(text.splitlines()[0])
