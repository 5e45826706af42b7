"""head.ply is a standard splat file: read back here with nothing but the format's own rules."""

from __future__ import annotations

import numpy as np

from core.bundle.splat_file import PROPERTIES, SplatCloud, splat_ply


def make_cloud(count: int) -> SplatCloud:
    generator = np.random.default_rng(1)
    values = generator.random((count, 14)).astype(np.float32)
    return SplatCloud(
        values[:, :3] - 0.5, values[:, 3:6] * 0.01 + 1e-4, values[:, 6:10], values[:, 10], values[:, 11:14]
    )


def read_ply(data: bytes) -> dict[str, np.ndarray]:
    header, _, body = data.partition(b"end_header\n")
    lines = header.decode("ascii").splitlines()
    assert lines[0] == "ply"
    assert "format binary_little_endian 1.0" in lines
    count = next(int(line.split()[2]) for line in lines if line.startswith("element vertex"))
    names = [line.split()[2] for line in lines if line.startswith("property float ")]
    table = np.frombuffer(body, "<f4").reshape(count, len(names))
    return dict(zip(names, table.T, strict=True))


def test_a_viewer_gets_the_gaussians_back() -> None:
    cloud = make_cloud(50)
    columns = read_ply(splat_ply(cloud))
    assert tuple(columns) == PROPERTIES
    np.testing.assert_array_equal(np.stack([columns[c] for c in "xyz"], 1), cloud.means)
    np.testing.assert_allclose(1 / (1 + np.exp(-columns["opacity"].astype(float))), cloud.opacities, atol=2e-6)
    scales = np.exp(np.stack([columns[f"scale_{k}"] for k in range(3)], 1))
    np.testing.assert_allclose(scales, cloud.scales, rtol=1e-5)
    colours = 0.5 + 0.28209479177387814 * np.stack([columns[f"f_dc_{k}"] for k in range(3)], 1)
    np.testing.assert_allclose(colours, cloud.colours, atol=1e-6)
    quaternions = np.stack([columns[f"rot_{k}"] for k in range(4)], 1)
    np.testing.assert_allclose(np.linalg.norm(quaternions, axis=1), 1, rtol=1e-6)
    directions = cloud.quaternions / np.linalg.norm(cloud.quaternions, axis=1, keepdims=True)
    np.testing.assert_allclose(quaternions, directions, atol=1e-6)


def test_opaque_and_invisible_gaussians_stay_finite() -> None:
    cloud = make_cloud(4)
    cloud.opacities[:] = [0, 1, 0.5, 1]
    cloud.scales[0] = 0
    cloud.quaternions[1] = 0
    assert all(np.isfinite(column).all() for column in read_ply(splat_ply(cloud)).values())


def test_no_gaussians_are_a_file_too() -> None:
    assert all(len(column) == 0 for column in read_ply(splat_ply(make_cloud(0))).values())
