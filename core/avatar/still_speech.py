"""The speech networks of both branches for one frame at a time, as few large products. For inference only.

It must give what `SpeechEncoder` gives for each branch, up to rounding: at one frame, what costs is not the arithmetic
but the number of operations.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.avatar.encoding import SPEECH_CODE, SPEECH_DIM, SpeechEncoder

WINDOWS = 8
STEPS = 16
SLOPE = 0.02


class StillSpeech:
    """E speech networks that hear the same frame."""

    @torch.no_grad()
    def __init__(self, encoders: list[SpeechEncoder]) -> None:
        first = encoders[0]
        self._convolutions = [
            _stack([_columns(cast(nn.Conv1d, encoder.convolutions[i])) for encoder in encoders])
            for i in range(len(first.convolutions))
        ]
        self._dense = [
            _stack([(linear.weight.t(), linear.bias) for linear in linears])
            for linears in ([e.hidden for e in encoders], [e.code for e in encoders])
        ]
        self._attention = [
            _stack([_unrolled(cast(nn.Conv1d, encoder.attention[i])) for encoder in encoders])
            for i in range(len(first.attention))
        ]
        self._attention_out = _stack([(e.attention_out.weight.t(), e.attention_out.bias) for e in encoders])

    @torch.no_grad()
    def codes(self, windows: Tensor) -> Tensor:
        """Speech windows [8, 16, 64] -> one code for each network, [E, 32]."""
        networks = self._attention_out[0].shape[0]
        x = windows.expand(networks, WINDOWS, STEPS, SPEECH_DIM)
        for weight, bias in self._convolutions:
            columns = F.pad(x, (0, 0, 1, 1)).unfold(2, 3, 2)
            steps = columns.shape[2]
            x = _product(columns.reshape(networks, WINDOWS * steps, -1), weight, bias).view(
                networks, WINDOWS, steps, -1
            )
        (hidden, hidden_bias), (code, code_bias) = self._dense
        codes = torch.baddbmm(code_bias, _product(x[:, :, 0], hidden, hidden_bias), code)
        y = codes.view(networks, 1, WINDOWS * SPEECH_CODE)
        for weight, bias in self._attention:
            y = _product(y, weight, bias)
        weights = torch.softmax(torch.baddbmm(self._attention_out[1], y, self._attention_out[0]), dim=2)
        return torch.bmm(weights, codes)[:, 0]


def _product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.leaky_relu_(torch.baddbmm(bias, x, weight), SLOPE)


def _stack(layers: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """[in, out] and [out] of each network -> [E, in, out] and [E, 1, out]."""
    weights, biases = zip(*layers, strict=True)
    return torch.stack(weights).contiguous(), torch.stack(biases)[:, None].contiguous()


def _columns(convolution: nn.Conv1d) -> tuple[Tensor, Tensor]:
    """A convolution of stride 2 as one matrix: [channel and step in the window, output]."""
    return convolution.weight.flatten(1).t(), cast(Tensor, convolution.bias)


def _unrolled(convolution: nn.Conv1d) -> tuple[Tensor, Tensor]:
    """A convolution over eight windows as one matrix between (window, channel) vectors."""
    inputs, outputs = convolution.in_channels, convolution.out_channels
    basis = torch.eye(WINDOWS * inputs).view(-1, WINDOWS, inputs).transpose(1, 2)
    answers = F.conv1d(basis, convolution.weight, padding=1)
    matrix = answers.transpose(1, 2).reshape(WINDOWS * inputs, WINDOWS * outputs)
    return matrix, cast(Tensor, convolution.bias).repeat(WINDOWS)
