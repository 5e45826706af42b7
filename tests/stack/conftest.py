"""The real servers, started by the tests: Postgres, Valkey and SeaweedFS, on free ports and in private folders."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.services import Servers, servers

_numbers = itertools.count()


@pytest.fixture(scope="session")
def stack() -> Iterator[Servers]:
    # Not pytest's own folder: that is closed to the user who runs Postgres where root runs the tests.
    folder = Path(tempfile.mkdtemp(prefix="likeness-stack-"))
    folder.chmod(0o711)
    try:
        with servers(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def new_database(stack: Servers) -> Callable[[], str]:
    """Makes an empty Postgres database, and returns its URL."""
    return lambda: stack.postgres.create_database(f"test_{next(_numbers)}")
