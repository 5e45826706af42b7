"""Pictures on disk: what was written is read, as a file that numpy can map."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from core.clip.picture_file import PictureFile

PICTURES = np.random.default_rng(0).integers(0, 256, (5, 7, 6, 3), np.uint8)


def written(path: Path) -> PictureFile:
    file = PictureFile(path, 5, (7, 6, 3))
    for number in (3, 0, 4, 2, 1):
        file[number] = PICTURES[number]
    return file


def test_is_what_numpy_would_have_saved(tmp_path: Path) -> None:
    written(tmp_path / "frames.npy").close()
    mapped = np.load(tmp_path / "frames.npy", mmap_mode="r")
    assert mapped.dtype == np.uint8 and np.array_equal(mapped, PICTURES)


def test_is_whole_before_anything_is_written(tmp_path: Path) -> None:
    with PictureFile(tmp_path / "frames.npy", 5, (7, 6, 3)) as file:
        assert len(file) == 5 and not file[4].any()
    assert np.load(tmp_path / "frames.npy").shape == (5, 7, 6, 3)


def test_keeps_its_pictures_when_opened_again(tmp_path: Path) -> None:
    written(tmp_path / "frames.npy").close()
    with PictureFile(tmp_path / "frames.npy", 5, (7, 6, 3)) as again:
        assert np.array_equal(again[2], PICTURES[2])
        again[2] = PICTURES[0]
        assert np.array_equal(again[2], PICTURES[0]) and np.array_equal(again[3], PICTURES[3])


@pytest.mark.parametrize("content", [b"", b"no array", None])
def test_a_file_of_another_form_is_begun_anew(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "frames.npy"
    if content is None:
        np.save(path, np.ones((5, 4, 4, 3), np.uint8))
    else:
        path.write_bytes(content)
    with PictureFile(path, 5, (7, 6, 3)) as file:
        assert not any(file[number].any() for number in range(5))


def test_a_checksum_tells_a_changed_picture(tmp_path: Path) -> None:
    with written(tmp_path / "frames.npy") as file:
        before = file.checksum(1, 4)
        assert before == zlib.crc32(PICTURES[1:4].tobytes())
        file[0] = PICTURES[1]
        assert file.checksum(1, 4) == before, "it is outside"
        file[3] = PICTURES[0]
        assert file.checksum(1, 4) != before


def test_refuses_pictures_of_another_shape_and_numbers_beyond_the_end(tmp_path: Path) -> None:
    with written(tmp_path / "frames.npy") as file:
        with pytest.raises(ValueError, match="expected uint8"):
            file[0] = np.zeros((7, 6), np.uint8)
        with pytest.raises(IndexError):
            file[5]
