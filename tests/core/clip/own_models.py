"""Small TorchScript models with the interfaces of those that users bring; written by tests."""

# No postponed annotations: TorchScript reads them.
from pathlib import Path

import torch
from torch import Tensor, nn


class TinySapiens(nn.Module):
    """Answers at half its input's size, as Sapiens does, with fixed combinations of the channels."""

    def __init__(self, weights: list[list[float]], offset: list[float]) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, len(weights), 1)
        with torch.no_grad():
            self.mix.weight.copy_(torch.tensor(weights)[..., None, None])
            self.mix.bias.copy_(torch.tensor(offset))

    def forward(self, picture: Tensor) -> Tensor:
        if list(picture.shape) != [1, 3, 1024, 768]:
            raise RuntimeError("Sapiens takes 1024 x 768")
        return torch.nn.functional.avg_pool2d(self.mix(picture), 2)


class TinySegmenter(nn.Module):
    """Reads each pixel's class from its red channel, nine levels a class; several answers, as BiSeNet gives."""

    centres: Tensor

    def __init__(self, classes: int, height: int, width: int, mean: float, deviation: float) -> None:
        super().__init__()
        self.register_buffer("centres", torch.arange(classes).float().view(1, -1, 1, 1) * 9)
        self.height, self.width, self.mean, self.deviation = height, width, mean, deviation

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        if picture.shape[2] != self.height or picture.shape[3] != self.width:
            raise RuntimeError("trained at another size")
        red = picture[:, :1] * self.deviation + self.mean
        small = torch.nn.functional.avg_pool2d(red, 4)
        logits = -((small - self.centres) ** 2)
        return logits, logits[:, :, ::2, ::2]


class TinyWave(nn.Module):
    """Hears the waveform as wav2vec2 and HuBERT do: every 320 samples from 400, then its neighbours too."""

    def __init__(self, dimension: int, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.hear = nn.Conv1d(1, dimension, 400, stride=320)
        self.mix = nn.Conv1d(dimension, dimension, 9, padding=4)

    def forward(self, sound: Tensor) -> Tensor:
        heard = torch.nn.functional.gelu(self.hear(sound.unsqueeze(1)))
        return (heard + 0.1 * self.mix(heard)).transpose(1, 2)


class TinyLetters(nn.Module):
    """Takes 19 x 26 coefficients a step as DeepSpeech's acoustic model does, and gives 29 logits."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.read = nn.Linear(19 * 26, 29)
        with torch.no_grad():  # it looks at the middle one above all
            self.read.weight[:, : 9 * 26] *= 0.05
            self.read.weight[:, 10 * 26 :] *= 0.05

    def forward(self, coefficients: Tensor) -> Tensor:
        return self.read(coefficients)


def save(model: nn.Module, path: Path) -> Path:
    """Write `model` as TorchScript."""
    torch.jit.save(torch.jit.script(model.eval()), path)
    return path
