"""Makes `data/speech_pca64.safetensors`: the projection of speech features from 384 to 64 numbers, and those of others.

Run: `python -m core.clip.fit_speech_projection CORPUS_DIR`, where CORPUS_DIR holds the clips of the pre-training corpus
(and none that results are measured on). Under other `LIKENESS_SPEECH_FEATURES` the file is one for
`LIKENESS_SPEECH_PROJECTION`: name it with `--output`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from core.clip.speech import REDUCED_DIMENSION, encode_speech, speech_encoder

Floats = npt.NDArray[np.float32]


def fit_projection(features: Floats) -> tuple[Floats, Floats, float]:
    """Principal components of [n, 384], whitened by the fourth root: mean [384], projection [384, 64], variance kept.

    Full whitening would blow up the last components' noise, none would let the first few speak alone; the mean variance
    of the 64 numbers is 1. Features of fewer numbers leave the rest 0.
    """
    mean = features.mean(0, dtype=np.float64)
    centred = features - mean
    variance, axes = np.linalg.eigh(centred.T @ centred / len(features))
    variance, axes = variance[::-1][:REDUCED_DIMENSION], axes[:, ::-1][:, :REDUCED_DIMENSION]
    # An axis' sign is arbitrary: fix it, so that every machine writes the same file.
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    projection = axes / np.sqrt(variance) * (variance / variance[0]) ** 0.25
    projection /= np.sqrt((centred @ projection).var(0).mean())
    projection = np.pad(projection, ((0, 0), (0, REDUCED_DIMENSION - projection.shape[1])))
    kept = float(variance.sum() / centred.var(0).sum())
    return mean.astype(np.float32), projection.astype(np.float32), kept


def main() -> None:
    """Fit on every clip of a folder and write the file that the product ships."""
    from core.media import decode_audio

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "data" / "speech_pca64.safetensors")
    arguments = parser.parse_args()
    features = []
    for clip in sorted(arguments.corpus.glob("*.mp4")):
        features.append(encode_speech(decode_audio(clip)))
        sys.stderr.write(f"{clip.name}: {len(features[-1]) / 50:.1f} s\n")
    mean, projection, kept = fit_projection(np.concatenate(features))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    card = {"features": speech_encoder().name, "clips": str(len(features)), "variance_kept": f"{kept:.4f}"}
    save_file({"mean": mean, "projection": projection}, arguments.output, metadata=card)
    sys.stderr.write(f"variance kept: {kept:.3f}\n")


if __name__ == "__main__":
    main()
