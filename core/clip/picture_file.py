"""Pictures of one shape in one `.npy` file, read and written one at a time: memory does not grow with their number.

A memory map would do, but each page of it that was touched counts as this process's memory until the kernel takes it
back. Knows nothing of what is in the pictures.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]


class PictureFile:
    """N uint8 arrays of one shape on disk; any number of threads may read and write different ones. A context manager.

    The file is a whole `.npy` from the start, zeros where nothing was written, so `numpy.load` can map it.
    """

    def __init__(self, path: Path, count: int, shape: tuple[int, ...]) -> None:
        """Open `path`, which is made where it is absent or of another shape.

        Args:
            path: its folder exists.
            count: N.
            shape: of one picture.
        """
        self.path, self.count, self.shape = path, count, shape
        self._bytes = int(np.prod(shape))
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
        fresh = not path.exists()
        with path.open("w+b" if fresh else "r+b") as file:
            if not fresh and not _has_header(file, header):
                file.truncate(0)
                file.seek(0)
                fresh = True
            if fresh:
                np.lib.format.write_array_header_1_0(file, header)
            self._start = file.tell()
            file.truncate(self._start + count * self._bytes)
            self._descriptor = os.dup(file.fileno())

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Picture:
        """Picture `number`, a fresh array."""
        picture = np.empty(self.shape, np.uint8)
        view, done = picture.data.cast("B"), 0
        while done < self._bytes:
            got = os.preadv(self._descriptor, [view[done:]], self._place(number) + done)
            if got == 0:
                raise OSError(f"{self.path.name} is shorter than it was")
            done += got
        return picture

    def __setitem__(self, number: int, picture: Picture) -> None:
        """Write picture `number`."""
        if picture.shape != self.shape or picture.dtype != np.uint8:
            raise ValueError(f"picture {picture.dtype} {picture.shape}, expected uint8 {self.shape}")
        view, done = np.ascontiguousarray(picture).data.cast("B"), 0
        while done < self._bytes:
            done += os.pwrite(self._descriptor, view[done:], self._place(number) + done)

    def checksum(self, start: int, stop: int) -> int:
        """CRC-32 of pictures `start` <= n < `stop` as they are on disk."""
        total = 0
        for number in range(start, stop):
            total = zlib.crc32(self[number].data, total)
        return total

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._descriptor < 0

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> PictureFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _place(self, number: int) -> int:
        if not 0 <= number < self.count:
            raise IndexError(number)
        return self._start + number * self._bytes


def _has_header(file: object, header: dict[str, object]) -> bool:
    try:
        if np.lib.format.read_magic(file) != (1, 0):  # type: ignore[arg-type]
            return False
        shape, order, kind = np.lib.format.read_array_header_1_0(file)  # type: ignore[arg-type]
    except ValueError:
        return False
    return shape == header["shape"] and not order and kind == np.uint8
