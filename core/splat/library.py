"""Finds and loads the native library: one file for each instruction set, the best that this CPU runs.

Knows file names, ctypes signatures and environment variables; nothing of tensors. `LIKENESS_ISA` (`v2`, `v3`, `v4`,
`native` or `torch`) overrides the choice, for tests and for measuring.
"""

from __future__ import annotations

import ctypes
import os
import warnings
from ctypes import POINTER, c_char_p, c_double, c_float, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "native" / "lib"
ISA_VARIABLE = "LIKENESS_ISA"
KEPT_MEGABYTES = 256
"""Freed memory that the process keeps: a step's tensors, of 3 to 20 MB, are otherwise faulted in anew every time."""


class SceneStruct(ctypes.Structure):
    """`LikenessScene` of native/api.h."""

    _fields_ = (
        *((name, c_void_p) for name in ("means", "quaternions", "scales", "opacities", "colors", "background", "view")),
        *((name, c_float) for name in ("fx", "fy", "cx", "cy")),
        *((name, c_int32) for name in ("count", "channels", "width", "height")),
    )


class SceneGradientStruct(ctypes.Structure):
    """`LikenessSceneGradient` of native/api.h."""

    _fields_ = tuple(
        (name, c_void_p) for name in ("means", "quaternions", "scales", "opacities", "colors", "screen_means")
    )


class LayerStruct(ctypes.Structure):
    """`LikenessLayer` of native/api.h."""

    _fields_ = (
        ("image", c_void_p),
        ("alpha", c_void_p),
        *((name, c_int32) for name in ("left", "top", "width", "height")),
    )


class ColumnsStruct(ctypes.Structure):
    """`LikenessColumns` of native/api.h."""

    _fields_ = (("count", c_int32), ("widths", c_void_p), ("at", c_void_p))


class RowsStruct(ctypes.Structure):
    """`LikenessRows` of native/api.h."""

    _fields_ = (("at", c_void_p), ("stride", c_int64))


class MotionStruct(ctypes.Structure):
    """`LikenessMotion` of native/api.h."""

    _fields_ = tuple((name, RowsStruct) for name in ("translation", "rotation", "scale"))


class StructureStruct(ctypes.Structure):
    """`LikenessStructure` of native/api.h."""

    _fields_ = tuple((name, c_void_p) for name in ("means", "quaternions", "scales", "opacities"))


class MovedStruct(ctypes.Structure):
    """`LikenessMoved` of native/api.h."""

    _fields_ = tuple((name, c_void_p) for name in ("means", "quaternions", "scales", "opacities", "slopes"))


class MotionGradientStruct(ctypes.Structure):
    """`LikenessMotionGradient` of native/api.h."""

    _fields_ = tuple((name, c_void_p) for name in ("translation", "rotation", "scale", "raw_scales", "raw_opacities"))


class AdamTensorStruct(ctypes.Structure):
    """`LikenessAdamTensor` of native/api.h."""

    _fields_ = (
        *((name, c_void_p) for name in ("value", "gradient", "first", "second")),
        ("count", c_int64),
        ("step", c_float),
        ("keep", c_float),
    )


_SIGNATURES: dict[str, tuple[object, list[object]]] = {
    "isa": (c_char_p, []),
    "cpu_level": (c_int32, []),
    "set_threads": (None, [c_int32]),
    "threads": (c_int32, []),
    "run_alone": (None, [c_int32]),
    "measure_fma_gflops": (c_double, [c_double]),
    "keep_freed_memory": (None, [c_int32]),
    "first_not_finite": (c_int32, [c_int32, c_void_p, c_void_p]),
    "raster_create": (c_void_p, []),
    "raster_destroy": (None, [c_void_p]),
    "raster_forward": (c_int32, [c_void_p, POINTER(SceneStruct), c_int32, *[c_void_p] * 4]),
    "raster_backward": (
        c_int32,
        [c_void_p, POINTER(SceneStruct), c_int32, c_int32, *[c_void_p] * 3, POINTER(SceneGradientStruct)],
    ),
    "raster_times": (None, [c_void_p, POINTER(c_double)]),
    "move_forward": (
        c_int32,
        [c_int32, c_int32, POINTER(StructureStruct), POINTER(MotionStruct), POINTER(MovedStruct), POINTER(c_double)],
    ),
    "move_backward": (
        None,
        [
            c_int32,
            c_int32,
            POINTER(MotionStruct),
            POINTER(MovedStruct),
            POINTER(StructureStruct),
            c_void_p,
            POINTER(MotionGradientStruct),
        ],
    ),
    "harmonics_forward": (c_int32, [c_int32, c_int32, *[c_void_p] * 4]),
    "harmonics_backward": (None, [c_int32, c_int32, *[c_void_p] * 7]),
    "triplane_forward": (c_int32, [c_int32, c_int32, c_int64, c_float, *[c_void_p] * 4]),
    "triplane_backward": (c_int32, [c_int32, c_int32, c_int64, c_float, *[c_void_p] * 6]),
    "mlp_forward": (
        c_int32,
        [c_int32, c_int32, c_void_p, POINTER(ColumnsStruct), c_void_p, c_void_p, POINTER(ColumnsStruct)],
    ),
    "mlp_backward": (
        c_int32,
        [
            *(c_int32, c_int32, c_void_p, POINTER(ColumnsStruct), c_void_p, c_void_p),
            *(POINTER(ColumnsStruct), c_void_p, POINTER(ColumnsStruct)),
        ],
    ),
    "mlp_infer": (c_int32, [c_int32, c_int32, *[c_void_p] * 5]),
    "convolve_forward": (c_int32, [c_int32, c_int32, c_int32, c_void_p, c_float, *[c_void_p] * 4]),
    "convolve_backward": (c_int32, [c_int32, c_int32, c_int32, c_void_p, c_float, *[c_void_p] * 7]),
    "adam": (c_int32, [c_int32, c_void_p, *[c_float] * 4]),
    "bounds": (None, [c_int32, c_void_p, c_void_p, *[c_float] * 4, c_void_p]),
    "composite": (c_int32, [c_int32, POINTER(LayerStruct), POINTER(LayerStruct), c_int32, c_void_p, c_void_p]),
    "lpips_create": (c_void_p, [c_void_p, c_void_p, c_void_p]),
    "lpips_destroy": (None, [c_void_p]),
    "lpips": (c_double, [c_void_p, c_int32, c_int32, c_void_p, c_void_p, c_void_p]),
    "photometric": (c_double, [c_int32, c_int32, c_int32, c_void_p, c_void_p, c_float, c_float, c_void_p]),
}


class Library:
    """The C functions of one loaded file, by their names without the `likeness_` prefix."""

    def __init__(self, path: Path) -> None:
        self._functions = ctypes.CDLL(str(path))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self._functions, f"likeness_{name}")
            function.restype = result
            function.argtypes = arguments

    def call(self, name: str, *arguments: object) -> int:
        """Call a function that returns a status or a number; memory exhaustion raises MemoryError."""
        result: int = getattr(self._functions, f"likeness_{name}")(*arguments)
        return result

    @property
    def isa(self) -> str:
        """The instruction set it was compiled for: `sse`, `avx2`, `avx512` or `neon`."""
        return str(getattr(self._functions, "likeness_isa")().decode())  # noqa: B009


STATUS_NOT_FINITE = 1
STATUS_TOO_LARGE = 2
STATUS_NO_MEMORY = 3


def check_status(status: int, what: str) -> None:
    """Turn a status of native/api.h into an exception.

    Raises:
        ValueError: an input holds NaN or infinity, or the picture needs more than 2^31 (tile, Gaussian) pairs.
        MemoryError: a buffer could not be allocated.
    """
    if status == STATUS_NOT_FINITE:
        raise ValueError(f"{what}: an input holds NaN or infinity")
    if status == STATUS_TOO_LARGE:
        raise ValueError(f"{what}: too many Gaussians cover too many tiles (more than 2^31 pairs)")
    if status == STATUS_NO_MEMORY:
        raise MemoryError(f"{what}: not enough memory")


def cpu_level() -> int:
    """The best x86-64 level (2, 3, 4) of this CPU; 0 on other machines or where nothing was compiled."""
    baseline = FOLDER / "liblikeness_splat_v2.so"
    return Library(baseline).call("cpu_level") if baseline.is_file() else 0


def _candidates() -> list[Path]:
    wanted = os.environ.get(ISA_VARIABLE, "")
    level = cpu_level()
    if wanted:
        if wanted.startswith("v") and int(wanted[1:]) > level:
            raise OSError(f"{ISA_VARIABLE}={wanted}, but this CPU runs x86-64-v{level}")
        return [FOLDER / f"liblikeness_splat_{wanted}.so"]
    if level:
        return [FOLDER / f"liblikeness_splat_v{number}.so" for number in range(level, 1, -1)]
    return [FOLDER / "liblikeness_splat_native.so"]


@cache
def load() -> Library | None:
    """The best library for this CPU, or None with one loud warning: the torch reference is a hundred times slower."""
    if os.environ.get(ISA_VARIABLE) == "torch":
        return None
    problem = "no compiled library in core/splat/native/lib"
    try:
        for path in _candidates():
            if path.is_file():
                library = Library(path)
                library.call("keep_freed_memory", KEPT_MEGABYTES)
                return library
    except (OSError, AttributeError, ValueError) as error:
        problem = str(error)
    warnings.warn(
        f"The native kernels can't load ({problem}); the torch reference runs instead, about a hundred times slower. "
        "Run `pip install -e .` with a C++17 compiler at hand, then `likeness doctor`.",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def backend_name() -> str:
    """What `rasterize` and the other kernels run on here: `native-avx2`, `native-avx512`, ..., or `torch`."""
    library = load()
    return "torch" if library is None else f"native-{library.isa}"


def choose(backend: str | None) -> Library | None:
    """The library for `backend` (`native`, `torch` or None for the best there is); None means the torch reference.

    Raises:
        ValueError: an unknown name.
        RuntimeError: `native` was asked for and can't load.
    """
    if backend == "torch":
        return None
    if backend not in (None, "native"):
        raise ValueError(f"backend must be 'native', 'torch' or None, not {backend!r}")
    library = load()
    if library is None and backend == "native":
        raise RuntimeError("the native kernels can't load on this machine; see `likeness doctor`")
    return library


def threads() -> int:
    """How many threads the native kernels use (`LIKENESS_THREADS`, or all cores that this process may use)."""
    library = load()
    return 1 if library is None else library.call("threads")


def set_threads(count: int) -> None:
    """Use `count` threads from now on; 0 for the default. Results do not depend on it, bit for bit."""
    library = load()
    if library is not None:
        library.call("set_threads", count)


def run_alone() -> None:
    """Let kernels called from this thread use no other: for callers that have a thread for each core already."""
    library = load()
    if library is not None:
        library.call("run_alone", 1)
