"""Another compiled rasteriser is driven through the C interface that the bench promises, in turns with ours."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from core.splat import peer_library
from core.splat.benchmark import bench_splat, medians_ms
from core.splat.scene import benchmark_scene

COMPILER = os.environ.get("CXX", "g++")
SOURCE = """
// A rasteriser that paints every pixel of a channel with the colours' sum.
extern "C" {
void* rast_new() { static int state; return &state; }
void proj_fwd(int n, const float* means, const float*, const float*, const float*, float, float, float, float, float,
              float* screen, float*, float* depth, int* radii) {
    for (int i = 0; i < n; i++) screen[2 * i] = means[3 * i], depth[i] = means[3 * i + 2], radii[2 * i] = 1;
}
void rast_fwd(void*, int n, int c, const float*, const float*, const float*, const float* colors, const float*,
              const int*, int w, int h, const float*, float* image, float*) {
    for (int k = 0; k < c; k++)
        for (int p = 0; p < w * h; p++) {
            image[k * w * h + p] = 0;
            for (int i = 0; i < n; i++) image[k * w * h + p] += colors[i * c + k];
        }
}
void rast_bwd(void*, int c, const float*, const float*, const float*, const float*, const float*, const float*,
              const float*, float* screen, float*, float* opacity, float* color) {
    screen[0] = 3, opacity[0] = 2;
    for (int k = 0; k < c; k++) color[k] = 1;
}
void proj_bwd(int, const float*, const float*, const float*, const float*, float, float, const float*,
              const float* screen, const float*, const float*, float* means, float*, float*) {
    means[0] = 2 * screen[0];
}
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library of `SOURCE`."""
    if not shutil.which(COMPILER):
        pytest.skip("needs a C++ compiler")
    folder = tmp_path_factory.mktemp("peer")
    (folder / "painter.cpp").write_text(SOURCE)
    command = [COMPILER, "-shared", "-fPIC", str(folder / "painter.cpp"), "-o", str(folder / "painter.so")]
    subprocess.run(command, check=True, timeout=60)
    return folder / "painter.so"


def test_its_picture_and_gradients_come_back(library: Path) -> None:
    scene = benchmark_scene(1, 16, 3)
    leaves = [tensor.clone().requires_grad_() for tensor in scene.tensors()]
    image = peer_library.renderer(peer_library.load(library), scene)(*leaves)
    assert torch.equal(image, scene.colors[0][:, None, None].expand(3, 16, 16))
    torch.autograd.backward(image.sum())
    means, opacities, colors = (leaves[index].grad for index in (0, 3, 4))
    assert means is not None and opacities is not None and colors is not None
    assert means[0, 0] == 6  # what rast_bwd says of the screen, through proj_bwd
    assert opacities.tolist() == [2]
    assert colors.tolist() == [[1, 1, 1]]


def test_it_has_a_row_of_its_own(library: Path) -> None:
    rows = bench_splat(20, 16, 3, 2, anchor=False, other=library)
    assert [row.backend for row in rows][1:] == ["painter"]
    assert rows[0].pairs == rows[1].pairs


def test_bodies_take_turns_and_have_their_own_medians() -> None:
    now, calls = [0.0], []

    def body(name: str, seconds: float) -> None:
        calls.append(name)
        now[0] += seconds

    times = medians_ms([lambda: body("a", 1), lambda: body("b", 2)], 3, lambda: now[0], 1)
    assert times == [1000, 2000]
    assert calls == ["a", "b"] * 4


def test_a_file_that_is_no_such_library_is_refused(tmp_path: Path) -> None:
    (tmp_path / "words.so").write_text("no library")
    with pytest.raises(OSError, match=r"words\.so"):
        peer_library.load(tmp_path / "words.so")
