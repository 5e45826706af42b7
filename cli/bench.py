"""`likeness bench`: how fast the kernels are on this machine, beside an anchor measured in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cli.console import print_json, stderr

GaussiansOption = Annotated[list[int] | None, typer.Option("--gaussians", min=1, help="How many; may be repeated.")]
ResolutionOption = Annotated[list[int] | None, typer.Option("--resolution", min=16, max=4096, help="May be repeated.")]
RepeatsOption = Annotated[int, typer.Option("--repeats", min=1, help="Runs of each; the median counts.")]
CpuTimeOption = Annotated[
    bool, typer.Option("--cpu-time", help="One thread and processor time: for a machine that is busy with other jobs.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(no_args_is_help=True, help="How fast the kernels are on this machine.")
    group.command("splat", epilog="Example: likeness bench splat --gaussians 20000 --resolution 512")(splat)
    group.command("step", epilog="Example: likeness bench step --json")(step)
    group.command("render", epilog="Example: likeness bench render --threads 1 --threads 2")(render)
    group.command("preprocess", epilog="Example: likeness bench preprocess clip.mp4 --seconds 5 --json")(preprocess)
    app.add_typer(group, name="bench")


def _clock(cpu_time: bool) -> Callable[[], float]:
    from core.splat.benchmark import use_one_thread

    if not cpu_time:
        return time.perf_counter
    use_one_thread()
    return time.process_time


def splat(
    gaussians: GaussiansOption = None,
    resolution: ResolutionOption = None,
    channels: Annotated[int, typer.Option("--channels", min=1, max=16)] = 3,
    repeats: RepeatsOption = 15,
    anchor: Annotated[bool, typer.Option("--anchor/--no-anchor", help="Also run gsplat's torch code (slow).")] = True,
    cpu_time: CpuTimeOption = False,
    peer_library: Annotated[
        Path | None,
        typer.Option(
            "--peer-library",
            exists=True,
            dir_okay=False,
            help="Also this compiled rasteriser, in turns with ours (C interface: core/splat/peer_library.py).",
        ),
    ] = None,
    cuda: Annotated[
        bool, typer.Option("--cuda", help="Also gsplat's CUDA kernels, on tensors of the card and on those of the CPU.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Instead: 1k-200k Gaussians at 128-1024 pixels, drawn into this SVG file."),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """The rasteriser, forward and forward + backward, against gsplat's own torch code or our torch reference."""
    from core.splat.benchmark import PLOTTED_GAUSSIANS, PLOTTED_RESOLUTIONS, bench_splat
    from core.splat.chart import draw_times

    clock = _clock(cpu_time)
    if plot is not None:
        gaussians = gaussians or list(PLOTTED_GAUSSIANS)
        resolution = resolution or list(PLOTTED_RESOLUTIONS)
        anchor = cuda = False
    results = [
        result
        for size in resolution or [512]
        for count in gaussians or [20_000]
        for result in bench_splat(count, size, channels, repeats, anchor, clock, peer_library, cuda)
    ]
    table = Table("backend", "pixels", "Gaussians", "channels", "fwd ms", "f+b ms")
    for row in results:
        times = f"{row.forward_ms:.2f}", f"{row.forward_backward_ms:.2f}"
        table.add_row(row.backend, str(row.resolution), str(row.gaussians), str(row.channels), *times)
    stderr.print(table)
    for row in results:
        if row.floor_ms is not None and row.peak_gflops is not None:
            stderr.print(
                f"{row.resolution}/{row.gaussians}, {row.backend}: {row.pairs} pairs, {row.flops / 1e9:.2f} Gflop, "
                f"peak {row.peak_gflops:.0f} Gflop/s on {row.threads} threads, floor {row.floor_ms:.2f} ms; "
                f"{row.forward_backward_ms / row.floor_ms:.1f} times the floor"
            )
    if plot is not None:
        draw_times(results, plot)
        stderr.print(f"plot: {plot}")
    if json_output:
        print_json([result.as_dict() for result in results])


def step(
    gaussians: Annotated[int, typer.Option("--gaussians", min=1)] = 12_000,
    resolution: Annotated[int, typer.Option("--resolution", min=16, max=4096)] = 512,
    repeats: RepeatsOption = 15,
    cpu_time: CpuTimeOption = False,
    json_output: JsonOption = False,
) -> None:
    """One training iteration and its kernels, natively and in plain torch (with our rasteriser in both)."""
    from core.splat.benchmark import bench_step

    results = bench_step(gaussians, resolution, repeats, _clock(cpu_time))
    table = Table("kernel", "native ms", "plain torch ms", "times", "threads")
    for row in results:
        ratio = f"{row.torch_ms / row.native_ms:.1f}"
        table.add_row(row.kernel, f"{row.native_ms:.2f}", f"{row.torch_ms:.2f}", ratio, str(row.threads))
    stderr.print(table)
    if json_output:
        print_json([result.as_dict() for result in results])


def render(
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="An avatar; without it one is made up (15,000 Gaussians).")
    ] = None,
    size: Annotated[int, typer.Option("--size", min=64, max=2048, help="Side of the frames, even.")] = 512,
    frames: Annotated[int, typer.Option("--frames", min=1, help="How many to draw.")] = 250,
    threads: Annotated[
        list[int] | None, typer.Option("--threads", min=1, max=256, help="May be repeated; default 1 and 2.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Whole talking frames a second: both branches, motion fields, composition; then with the video encoder."""
    from core.render.benchmark import bench_render

    results = bench_render(bundle, size, frames, threads or [1, 2])
    table = Table("backend", "threads", "encoder", "pixels", "Gaussians", "ms a frame", "frames/s")
    for row in results:
        times = f"{row.ms_per_frame:.2f}", f"{row.fps:.1f}"
        encoder = "yes" if row.encoder else "no"
        table.add_row(row.backend, str(row.threads), encoder, str(row.size), str(row.gaussians), *times)
    stderr.print(table)
    if json_output:
        print_json([result.as_dict() for result in results])


def preprocess(
    video: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Real footage; may be several.")],
    seconds: Annotated[float, typer.Option("--seconds", min=3, max=600, help="Of the longest shot.")] = 5.0,
    size: Annotated[int, typer.Option("--size", min=64, max=1024, help="Side of the clip's frames.")] = 512,
    threads: Annotated[
        list[int] | None, typer.Option("--threads", min=1, max=256, help="May be repeated; default 1 and 2.")
    ] = None,
    lengthen: Annotated[
        bool, typer.Option("--lengthen", help="Play a shot that is too short to and fro until it is long enough.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """From a video to a finished Clip: the time of each part, peak memory, and what a second thread gains."""
    from core.clip.benchmark import bench_preprocess

    results = bench_preprocess(video, seconds, size, threads or [1, 2], lengthen=lengthen)
    for row in results:
        title = (
            f"{row.video} ({row.width}x{row.height}), {row.seconds_of_clip:g} s at {row.size}, {row.threads} threads"
        )
        table = Table("part", "s", title=title)
        for name, taken in row.parts.items():
            table.add_row(name, f"{taken:.2f}")
        table.add_row("in all", f"{row.seconds:.2f}")
        table.add_row("processor time", f"{row.cpu_seconds:.2f}")
        stderr.print(table)
        first = next(other for other in results if other.video == row.video)
        stderr.print(
            f"peak memory {row.peak_mb:.0f} MB; at most {row.longest_silence_s:.2f} s between two reports; "
            f"{first.seconds / row.seconds:.2f} times as fast as with {first.threads} threads"
        )
    if json_output:
        print_json([row.as_dict() for row in results])
