"""Single pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import InputRefusedError, UsageError
from core.media import read_image, write_png


def test_a_png_comes_back_exactly(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    write_png(tmp_path / "p.png", picture)
    assert (read_image(tmp_path / "p.png") == picture).all()
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        read_image(tmp_path / "none.png")
    for content in (b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(50), b"RIFF....WAVE" + bytes(50)):
        (tmp_path / "bad.png").write_bytes(content)
        with pytest.raises(InputRefusedError) as caught:
            read_image(tmp_path / "bad.png")
        assert caught.value.code == "image_refused"
