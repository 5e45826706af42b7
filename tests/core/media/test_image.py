"""Single pictures."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from core.errors import InputRefusedError, UsageError
from core.media import read_image, write_png

from .conftest import run_ffmpeg


def test_a_png_comes_back_exactly(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    write_png(tmp_path / "p.png", picture)
    assert (read_image(tmp_path / "p.png") == picture).all()
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]


@pytest.mark.parametrize("name", ["p.jpg", "p.webp"])
def test_other_formats_are_read(tmp_path: Path, name: str) -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:, :32] = (220, 40, 30)
    write_png(tmp_path / "p.png", picture)
    run_ffmpeg("-i", str(tmp_path / "p.png"), "-update", "1", str(tmp_path / name))
    assert np.abs(read_image(tmp_path / name)[24, [8, 56]].astype(int) - picture[24, [8, 56]]).max() < 12


def test_a_picture_bomb_is_refused(tmp_path: Path) -> None:
    """A PNG of a few bytes whose header says 60000x60000."""
    write_png(tmp_path / "p.png", np.zeros((8, 8, 3), np.uint8))
    data = bytearray((tmp_path / "p.png").read_bytes())
    struct.pack_into(">II", data, 16, 60000, 60000)
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    (tmp_path / "p.png").write_bytes(data)
    with pytest.raises(InputRefusedError):
        read_image(tmp_path / "p.png")


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        read_image(tmp_path / "none.png")
    for content in (b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(50), b"RIFF....WAVE" + bytes(50)):
        (tmp_path / "bad.png").write_bytes(content)
        with pytest.raises(InputRefusedError) as caught:
            read_image(tmp_path / "bad.png")
        assert caught.value.code == "image_refused"
