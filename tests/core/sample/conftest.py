"""One small generated sample for this room's tests, and its truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from core.errors import MissingModelError
from core.media import decode_frames, probe
from core.models import locate
from core.sample import Sample, generate_sample

SECONDS, SIZE = 4.0, 256


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    try:
        locate("face_landmarker")
    except MissingModelError as error:
        pytest.skip(f"the landmark model is absent: {error.message}")
    return generate_sample(tmp_path_factory.mktemp("sample"), seconds=SECONDS, size=SIZE)


@pytest.fixture(scope="session")
def truth(made: Sample) -> Mapping[str, npt.NDArray[Any]]:
    with np.load(made.truth, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="session")
def frames(made: Sample) -> npt.NDArray[np.uint8]:
    return np.stack(list(decode_frames(made.video, probe(made.video), crop=None, size=SIZE)))
