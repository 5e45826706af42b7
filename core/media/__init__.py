"""Everything that touches ffmpeg: probing, decoding, encoding, shots. Knows no faces, no torch and no jobs."""

from core.media.audio import SILENCE_DBFS, SPEECH_RATE_HZ, check_speech_level, decode_audio, loud_seconds
from core.media.binary import ffmpeg_path, ffmpeg_version
from core.media.decode import decode_chosen, decode_frames, decode_frames_full, scaled_size
from core.media.encode import VideoWriter
from core.media.image import read_image, write_png
from core.media.probe import FPS, AudioInfo, MediaInfo, probe, probe_audio, probe_picture
from core.media.shots import Shot, find_shots, longest_shot

__all__ = [
    "FPS",
    "SILENCE_DBFS",
    "SPEECH_RATE_HZ",
    "AudioInfo",
    "MediaInfo",
    "Shot",
    "VideoWriter",
    "check_speech_level",
    "decode_audio",
    "decode_chosen",
    "decode_frames",
    "decode_frames_full",
    "ffmpeg_path",
    "ffmpeg_version",
    "find_shots",
    "longest_shot",
    "loud_seconds",
    "probe",
    "probe_audio",
    "probe_picture",
    "read_image",
    "scaled_size",
    "write_png",
]
