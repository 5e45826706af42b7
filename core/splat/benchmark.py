"""Measures the kernels: against gsplat's torch code or our torch reference, and against plain torch for a whole step.

Knows the scene, the clock and the kernels; prints nothing.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from core.splat import (
    AdamTensor,
    LpipsNetwork,
    adam_step,
    encode_triplane,
    library,
    mlp,
    mlp_split,
    move,
    peer,
    peer_library,
    photometric_loss,
    rasterize,
    reference,
    ssim,
)
from core.splat.device import check_device
from core.splat.lpips import SHAPES, SMALLEST_SIDE
from core.splat.scene import benchmark_scene
from core.splat.torch_threads import single_torch_thread

FORWARD_FLOPS = 34
BACKWARD_FLOPS = 52
"""Flops of a contributing (pixel, Gaussian) pair with three channels (splat evidence)."""
WARM_UP = 2
"""Runs before those that count."""
ANCHOR_RUNS = 3
"""Runs of a peer that takes a second each."""
PLOTTED_GAUSSIANS = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000)
PLOTTED_RESOLUTIONS = (128, 256, 512, 1024)


@dataclass(frozen=True)
class SplatResult:
    """One row of `likeness bench splat`."""

    backend: str
    resolution: int
    gaussians: int
    channels: int
    forward_ms: float
    forward_backward_ms: float
    threads: int
    pairs: int
    """Contributing (pixel, Gaussian) pairs of the picture."""
    flops: int
    """What the pairs cost at least, forward and backward, with three channels."""
    peak_gflops: float | None
    """Measured multiply-add peak of all threads; None without a native library."""
    floor_ms: float | None
    """Forward and backward at that peak; None where not measured."""

    def as_dict(self) -> dict[str, object]:
        """The row as JSON."""
        return asdict(self)


@dataclass(frozen=True)
class StepResult:
    """One row of `likeness bench step`: forward and backward of one kernel, or of the whole iteration."""

    kernel: str
    native_ms: float
    torch_ms: float
    threads: int

    def as_dict(self) -> dict[str, object]:
        """The row as JSON."""
        return asdict(self)


Clock = Callable[[], float]
"""Seconds: `time.perf_counter`, or `time.process_time` where other jobs share the cores."""


def median_ms(body: Callable[[], object], repeats: int, clock: Clock, warm_up: int = WARM_UP) -> float:
    """Median time of `body` in milliseconds."""
    return medians_ms([body], repeats, clock, warm_up)[0]


def medians_ms(
    bodies: Sequence[Callable[[], object]], repeats: int, clock: Clock, warm_up: int = WARM_UP
) -> list[float]:
    """Median time of each body in milliseconds; in turns, so that what else the machine does hits all alike."""
    times: list[list[float]] = [[] for _ in bodies]
    for run in range(warm_up + repeats):
        for body, own in zip(bodies, times, strict=True):
            start = clock()
            body()
            if run >= warm_up:
                own.append(clock() - start)
    return [1e3 * statistics.median(own) for own in times]


def use_one_thread() -> None:
    """Let the kernels and torch run on one thread, so that processor time is the time of the work."""
    library.set_threads(1)
    torch.set_num_threads(1)


def fma_peak_gflops(seconds: float = 0.3) -> float | None:
    """Measured multiply-add peak of all threads; None without a native library."""
    loaded = library.load()
    return None if loaded is None else float(loaded.call("measure_fma_gflops", seconds))


def bench_splat(
    gaussians: int,
    resolution: int,
    channels: int,
    repeats: int,
    anchor: bool,
    clock: Clock = time.perf_counter,
    other: Path | None = None,
    cuda: bool = False,
) -> list[SplatResult]:
    """Our backend, and with `anchor` gsplat's torch code (our torch reference where gsplat is not installed).

    `other`: a library that `peer_library` can drive, measured in turns with ours. `cuda`: also gsplat's kernels, in
    wall time until the card is done, with tensors on the card (`gsplat-cuda`) and with tensors in main memory, as
    `likeness adapt --device cuda` has them (`gsplat-cuda-from-cpu`); the floor is the CPU's, so these rows have none.

    Raises:
        OSError, AttributeError: as `peer_library.load`.
        UsageError: `cuda_unavailable`.
    """
    if cuda:
        check_device("cuda")
    scene = benchmark_scene(gaussians, resolution, channels)
    pairs = peer.contributing_pairs(scene)
    peak = fma_peak_gflops()
    count = len(pairs.pixels)
    flops = count * (FORWARD_FLOPS + BACKWARD_FLOPS)
    floor = None if peak is None else flops / peak * 1e-6
    weights = torch.randn(channels, resolution, resolution, generator=torch.Generator().manual_seed(0))

    def measure(
        drawn: dict[str, Callable[..., Tensor]],
        runs: int,
        threads: int,
        warm_up: int = WARM_UP,
        clock: Clock = clock,
        device: str = "cpu",
        settle: Callable[[], None] = lambda: None,
    ) -> list[SplatResult]:
        leaves = [tensor.clone().to(device).requires_grad_() for tensor in scene.tensors()]
        upstream = weights.to(device)

        def forward(draw: Callable[..., Tensor]) -> None:
            with torch.no_grad():
                draw(*leaves)
            settle()

        def both(draw: Callable[..., Tensor]) -> None:
            for leaf in leaves:
                leaf.grad = None
            torch.autograd.backward(draw(*leaves), upstream)
            settle()

        draws = list(drawn.values())
        forward_ms = medians_ms([lambda draw=draw: forward(draw) for draw in draws], runs, clock, warm_up)  # type: ignore[misc]
        both_ms = medians_ms([lambda draw=draw: both(draw) for draw in draws], runs, clock, warm_up)  # type: ignore[misc]
        return [
            SplatResult(name, resolution, gaussians, channels, forth, back, threads, count, flops, peak, floor)
            for name, forth, back in zip(drawn, forward_ms, both_ms, strict=True)
        ]

    def own(backend: str | None) -> Callable[..., Tensor]:
        def draw(means: Tensor, quaternions: Tensor, scales: Tensor, opacities: Tensor, colors: Tensor) -> Tensor:
            view, camera = scene.world_to_camera, scene.camera
            return rasterize(means, quaternions, scales, opacities, colors, view, camera, backend=backend).image

        return draw

    compiled = {library.backend_name(): own(None)}
    if other is not None:
        compiled[other.stem] = peer_library.renderer(peer_library.load(other), scene)
    with single_torch_thread():
        results = measure(compiled, repeats, library.threads())
    if cuda:
        for name, device in (("gsplat-cuda", "cuda"), ("gsplat-cuda-from-cpu", "cpu")):
            wall, wait = time.perf_counter, torch.cuda.synchronize
            rows = measure({name: own("cuda")}, repeats, 1, clock=wall, device=device, settle=wait)
            results += [replace(row, peak_gflops=None, floor_ms=None) for row in rows]
    if anchor and peer.available():
        drawn = peer.renderer(scene, pairs)
        anchors = {"gsplat-torch": lambda *leaves: drawn(*leaves)[0].permute(2, 0, 1)}
        results += measure(anchors, ANCHOR_RUNS, torch.get_num_threads(), 1)
    elif anchor:
        results += measure({"torch-reference": own("torch")}, ANCHOR_RUNS, torch.get_num_threads(), 1)
    return results


def made_up_lpips() -> LpipsNetwork:
    """AlexNet's shape with random weights of a size that keeps every layer's scale."""
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(o, i, k, k, generator=generator) * (2 / (i * k * k)) ** 0.5 for o, i, k in SHAPES]
    biases = [0.1 * torch.randn(out, generator=generator) for out, _, _ in SHAPES]
    return LpipsNetwork(weights, biases, [torch.rand(out, generator=generator) for out, _, _ in SHAPES])


def bench_step(gaussians: int, resolution: int, repeats: int, clock: Clock = time.perf_counter) -> list[StepResult]:
    """The kernels of a face-branch iteration, natively and in plain torch, then the whole iteration both ways.

    Plain torch still draws with our rasteriser, so that the comparison is about the rest of the step. The iteration:
    12-level grid, motion field 74-64-64-11 and aligner 36-32-6, RGB + two attention channels, L1 + SSIM, Adam.
    Natively torch's own operators have one thread, as everywhere in the product; plain torch has all of them. LPIPS,
    which no iteration here has, is that of a patch, a quarter of the frame's side, with made-up weights.
    """
    scene = benchmark_scene(gaussians, resolution, 5)
    generator = torch.Generator().manual_seed(0)
    resolutions = torch.tensor(reference.growth_resolutions(16, 38.4, 12), dtype=torch.int32)
    entries = (int(resolutions.max()) + 1) ** 2
    structure = [*scene.tensors()]
    structure[2:4] = structure[2].expm1().log(), structure[3].logit()
    parameters = [tensor.clone().requires_grad_() for tensor in structure]
    means, quaternions, scales, opacities, colors = parameters
    table = (1e-4 * torch.randn(3, 12, entries, generator=generator)).requires_grad_()

    def layers(*widths: int) -> list[Tensor]:
        shapes = zip(widths[1:], widths, strict=False)
        return [(torch.randn(o, i, generator=generator) / i**0.5).requires_grad_() for o, i in shapes]

    field, aligner = layers(74, 64, 64, 11), layers(36, 32, 6)
    with torch.no_grad():
        field[-1].mul_(1e-3)
        aligner[-1].mul_(1e-3)
    gates, codes = torch.randn(gaussians, 38, generator=generator), torch.randn(74, generator=generator)
    target = torch.rand(3, resolution, resolution, generator=generator)
    regions = torch.rand(3 * resolution * resolution, generator=generator) / resolution**2
    moving = [*parameters, table, *field, *aligner]
    moments = [(torch.zeros_like(value), torch.zeros_like(value)) for value in moving]
    inputs = torch.randn(gaussians, 74, generator=generator, requires_grad=True)
    picture = torch.rand(3, resolution, resolution, generator=generator).requires_grad_()

    perceptual = made_up_lpips()
    side = max(SMALLEST_SIDE, resolution // 4)
    patches = torch.rand(2, 3, side, side, generator=generator)
    patch = patches[0].clone().requires_grad_()

    def grid(backend: str | None) -> None:
        torch.autograd.backward(encode_triplane(means, table, resolutions, 1.2, backend=backend).sum())

    def network(backend: str | None) -> None:
        torch.autograd.backward(mlp(inputs, field, backend=backend).sum())

    def similarity(backend: str | None) -> None:
        torch.autograd.backward(ssim(picture, target, backend=backend))

    def looks(backend: str | None) -> None:
        torch.autograd.backward(perceptual.distance(patch, patches[1], backend=backend))

    def iteration(backend: str | None) -> None:
        features = encode_triplane(means, table, resolutions, 1.2, backend=backend)
        offset, gain = mlp_split(features, aligner, (3, 3), backend=backend)
        layers = [field[0] * codes, *field[1:]]
        along, turned, grown, _ = mlp_split([features, gates], layers, (3, 4, 3, 1), backend=backend)
        translation = along * (1 + 0.25 * torch.tanh(gain / 5)) + offset
        moved = move(means, quaternions, scales, opacities, translation, turned, grown, backend=backend)
        shape = moved.means, moved.quaternions, moved.scales, moved.opacities
        drawn = rasterize(*shape, colors, scene.world_to_camera, scene.camera, geometry_channels=3)
        loss = photometric_loss(drawn.image, target, 0.2, backend=backend) + 1e-5 * moved.magnitude
        covered = torch.dot(drawn.alpha.view(-1), regions[: drawn.alpha.numel()])
        attended = torch.dot(drawn.maps.reshape(-1), regions[drawn.alpha.numel() :])
        torch.autograd.backward(loss + 1e-3 * (covered + attended))
        state = zip(moving, moments, strict=True)
        steps = [AdamTensor(value.detach(), value.grad, *both, 1e-6) for value, both in state if value.grad is not None]
        adam_step(steps, 1, (0.9, 0.999), 1e-8, backend=backend)
        for value in moving:
            value.grad = None

    kernels: list[tuple[str, Callable[[str | None], None]]] = [
        ("grid", grid),
        ("network", network),
        ("ssim", similarity),
        ("lpips", looks),
        ("iteration", iteration),
    ]
    results = []
    for name, body in kernels:
        with single_torch_thread():
            native = median_ms(lambda run=body: run(None), repeats, clock)  # type: ignore[misc]
        plain = median_ms(lambda run=body: run("torch"), max(1, repeats // 4), clock, 1)  # type: ignore[misc]
        results.append(StepResult(name, native, plain, library.threads()))
    return results
