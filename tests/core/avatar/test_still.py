"""An avatar that stands still answers as the fields that it was trained with."""

import pytest
import torch

from core.avatar.encoding import SpeechEncoder
from core.avatar.motion import FaceField, MouthField
from core.avatar.still import StillFace, StillMouth
from core.avatar.still_speech import StillSpeech


def awake(field):
    """Fields start near zero: give them something to say."""
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return field.requires_grad_(False)


@pytest.mark.parametrize("aligned", [True, False])
def test_the_face_moves_as_in_training(aligned):
    torch.manual_seed(4)
    field = awake(FaceField(aligned=aligned))
    points = 0.1 * torch.randn(203, 3)
    windows, expression = torch.randn(8, 16, 64), torch.rand(6)
    trained = field(points, windows, expression)
    still = StillFace(field, points).move(field.speech(windows[None])[0], expression)
    assert trained.translation.abs().max() > 1e-4
    for name in ("translation", "rotation", "scale"):
        torch.testing.assert_close(getattr(still, name), getattr(trained, name), rtol=1e-4, atol=1e-6)


def test_the_mouth_moves_as_in_training():
    torch.manual_seed(5)
    field = awake(MouthField())
    points = 0.05 * torch.randn(77, 3)
    windows, hook = torch.randn(8, 16, 64), torch.tensor([1.0, -0.5, 1.5])
    trained = field(points, windows, hook)
    assert trained.translation.abs().max() > 1e-5
    still = StillMouth(field, points).move(field.speech(windows[None])[0], hook)
    torch.testing.assert_close(still.translation, trained.translation)


def test_both_speech_networks_are_heard_at_once():
    torch.manual_seed(7)
    encoders = [awake(SpeechEncoder()) for _ in range(2)]
    windows = torch.randn(8, 16, 64)
    expected = torch.cat([encoder(windows[None]) for encoder in encoders])
    torch.testing.assert_close(StillSpeech(encoders).codes(windows), expected, rtol=1e-4, atol=1e-5)


def test_the_speech_network_is_the_one_of_its_convolutions():
    torch.manual_seed(6)
    encoder = SpeechEncoder().requires_grad_(False)
    windows = torch.randn(3, 8, 16, 64)
    x = windows.reshape(24, 16, 64).transpose(1, 2)
    for convolution in encoder.convolutions:
        x = torch.nn.functional.leaky_relu(convolution(x), 0.02)
    codes = encoder.code(torch.nn.functional.leaky_relu(encoder.hidden(x[:, :, 0]), 0.02)).view(3, 8, 32)
    y = codes.transpose(1, 2)
    for convolution in encoder.attention:
        y = torch.nn.functional.leaky_relu(convolution(y), 0.02)
    weights = torch.softmax(encoder.attention_out(y.view(3, 8)), dim=1)
    torch.testing.assert_close(encoder(windows), (weights[:, None] @ codes)[:, 0])
