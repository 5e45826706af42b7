"""`bench render` measures what it says, on a made-up head and on a bundle."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.render import benchmark
from core.render.benchmark import bench_render, made_up_avatar
from core.splat import library


def test_rows_for_each_thread_count_without_and_with_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    small = made_up_avatar(400, 60)
    monkeypatch.setattr(benchmark, "made_up_avatar", lambda: small)
    rows = bench_render(None, 64, 4, [1, 2])
    assert [(row.threads, row.encoder) for row in rows] == [(1, False), (1, True), (2, False), (2, True)]
    for row in rows:
        assert row.fps == pytest.approx(1e3 / row.ms_per_frame)
        assert row.as_dict()["size"] == 64
    assert library.threads() != 0


def test_a_given_bundle_is_drawn(small_bundle: Path) -> None:
    rows = bench_render(small_bundle, 64, 3, [1])
    assert [row.gaussians for row in rows] == [340, 340]


def test_the_made_up_head_fills_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the figures would be those of an empty frame."""
    small = made_up_avatar(3000, 400)
    monkeypatch.setattr(benchmark, "made_up_avatar", lambda: small)
    with benchmark._source(None, 96) as (_, draw):
        (frame,) = draw(benchmark._speech(1))
    changed = (frame != benchmark._backdrop(96)).any(-1)
    assert 0.2 < changed.mean() < 0.8
