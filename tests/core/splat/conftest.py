"""What the splatting tests share: each instruction set that this machine runs, and scenes to draw."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.splat import library


def available() -> list[str]:
    """The instruction sets that were compiled and that this CPU runs."""
    names = ["native", *(f"v{level}" for level in range(2, library.cpu_level() + 1))]
    return [name for name in names if (library.FOLDER / f"liblikeness_splat_{name}.so").is_file()]


@pytest.fixture(params=available())
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run the test once for each compiled instruction set that this CPU has."""
    name = str(request.param)
    monkeypatch.setenv(library.ISA_VARIABLE, name)
    library.load.cache_clear()
    yield name
    library.load.cache_clear()


@pytest.fixture
def threads() -> Iterator[None]:
    """Put the thread count back after a test that changes it."""
    yield
    library.set_threads(0)
