"""Probing: facts of good files, and one stable code for every kind of bad one."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from core.errors import InputRefusedError, LikenessError, UsageError
from core.media import probe, probe_audio, probe_picture

from .conftest import Maker, clicks, run_ffmpeg


def code_of(path: Path) -> str:
    with pytest.raises(InputRefusedError) as caught:
        probe(path)
    assert caught.value.hint
    assert str(path.parent) not in caught.value.message
    return caught.value.code


def test_tells_the_facts_of_a_plain_file(plain_video: Path) -> None:
    info = probe(plain_video)
    assert (info.container, info.width, info.height, info.rotation) == ("mp4", 192, 128, 0)
    assert (info.video_codec, info.has_audio, info.audio_codec, info.sample_rate) == ("h264", True, "aac", 48000)
    assert (info.video_start_s, info.audio_start_s, info.origin_s) == (0.0, 0.0, 0.0)
    assert (info.fps, info.variable_frame_rate, info.frame_count) == (25.0, False, 50)
    assert info.duration_s == pytest.approx(2.0)


@pytest.mark.parametrize("name", ["v.mov", "v.mkv", "v.avi", "v.ts"])
def test_reads_the_other_containers(maker: Maker, name: str) -> None:
    info = probe(maker.video(name))
    assert (info.width, info.height, info.video_codec) == (192, 128, "h264")
    assert info.fps == pytest.approx(25, abs=0.01)
    assert info.duration_s == pytest.approx(2.0, abs=0.1)


def test_reads_webm(maker: Maker) -> None:
    source = maker.video("v.mp4", frames=10)
    run_ffmpeg("-i", str(source), "-c:v", "libvpx", "-c:a", "libopus", "-b:v", "1M", str(maker.folder / "v.webm"))
    info = probe(maker.folder / "v.webm")
    assert (info.container, info.video_codec, info.audio_codec) == ("matroska", "vp8", "opus")


def test_thirty_frames_a_second(maker: Maker) -> None:
    info = probe(maker.video("v.mkv", frames=60, fps=30))  # Matroska rounds to milliseconds: 33, 67, 100
    assert info.fps == pytest.approx(30, abs=0.05)
    assert not info.variable_frame_rate
    assert info.frame_count == 50


def test_variable_frame_rate_is_noticed(maker: Maker) -> None:
    source = maker.video("v.mp4", "-vf", "select=not(mod(n\\,3))+gt(n\\,30)")
    assert probe(source).variable_frame_rate


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_turns_the_size(maker: Maker, rotation: int) -> None:
    plain = maker.video("v.mp4", frames=5, click_at=None)
    turned = maker.folder / "t.mp4"
    run_ffmpeg("-display_rotation", str(rotation), "-i", str(plain), "-c", "copy", str(turned))
    info = probe_picture(turned)
    assert info.rotation == rotation
    assert (info.width, info.height) == ((192, 128) if rotation == 180 else (128, 192))


def test_pixels_that_are_not_square_widen_the_picture(maker: Maker) -> None:
    info = probe(maker.video("v.mp4", "-vf", "setsar=4/3"))
    assert (info.width, info.height) == (256, 128)


def test_streams_that_start_apart(maker: Maker) -> None:
    late_picture = probe(maker.video("v.mp4", video_delay_s=0.08))
    assert late_picture.video_start_s - late_picture.origin_s == pytest.approx(0.08, abs=0.001)
    assert late_picture.audio_start_s == late_picture.origin_s
    late_sound = probe(maker.video("a.mp4", audio_delay_s=0.3))
    assert late_sound.audio_start_s is not None
    assert late_sound.audio_start_s - late_sound.origin_s == pytest.approx(0.3, abs=0.022)  # AAC: one block early


def test_subtitles_and_cover_pictures_do_not_disturb(maker: Maker, plain_video: Path) -> None:
    words = maker.folder / "s.srt"
    words.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    mixed = maker.folder / "mixed.mkv"
    run_ffmpeg("-i", str(plain_video), "-i", str(words), "-c", "copy", "-c:s", "srt", str(mixed))
    assert probe(mixed).frame_count == 50


def test_metadata_can_not_pose_as_a_stream(maker: Maker) -> None:
    lie = "x\n  Stream #0:0: Video: h264, 9x9, 99 fps\n    Side data:\n      Display Matrix: rotation of 90.00 degrees"
    info = probe(maker.video("v.mkv", "-metadata", f"title={lie}", "-metadata:s:v", f"comment={lie}"))
    assert (info.width, info.height, info.fps, info.rotation) == (192, 128, 25.0, 0)


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none.mp4", tmp_path):
        with pytest.raises(UsageError) as caught:
            probe(path)
        assert caught.value.code == "file_not_found"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "media_empty"),
        (b"Dear diary, this is no video.\n" * 50, "not_a_video"),
        (bytes(5000), "not_a_video"),
        (bytes(range(256)) * 20, "not_a_video"),
        (b"ffconcat version 1.0\nfile /etc/hostname\n", "media_format_refused"),
        (b"\xef\xbb\xbf\nffconcat version 1.0\nfile /etc/hostname\n", "media_format_refused"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n", "media_format_refused"),
        (b"<?xml version='1.0'?><MPD></MPD>", "media_format_refused"),
        (b"FLV\x01\x05" + bytes(500), "media_format_refused"),
        (b"GIF89a" + bytes(500), "media_format_refused"),
        (b"\x00\x00\x00\x18ftypisom" + bytes(300), "media_truncated"),
        (b"\x1a\x45\xdf\xa3" + bytes(300), "media_format_refused"),
        (b"RIFF\x00\x01\x00\x00AVI LIST" + bytes(300), "media_truncated"),
    ],
)
def test_false_names_are_refused(tmp_path: Path, content: bytes, code: str) -> None:
    path = tmp_path / "holiday.mp4"
    path.write_bytes(content)
    assert code_of(path) == code


@pytest.mark.parametrize("front", [True, False])
def test_a_truncated_mp4_is_refused(maker: Maker, front: bool) -> None:
    whole = maker.video("v.mp4", *(["-movflags", "+faststart"] if front else [])).read_bytes()
    for share in (0.02, 0.5, 0.9):
        cut = maker.folder / "cut.mp4"
        cut.write_bytes(whole[: int(len(whole) * share)])
        assert code_of(cut) == "media_truncated"


def test_a_truncated_matroska_is_refused(maker: Maker) -> None:
    whole = maker.video("v.mkv").read_bytes()
    cut = maker.folder / "cut.mkv"
    cut.write_bytes(whole[: len(whole) // 2])
    assert code_of(cut) == "media_truncated"


def test_a_header_that_promises_more_than_there_is_is_refused(maker: Maker) -> None:
    path = maker.video("v.mkv")
    data = bytearray(path.read_bytes())
    place = data.index(b"\x44\x89\x88") + 3  # Segment > Info > Duration, a double in milliseconds
    assert struct.unpack_from(">d", data, place)[0] == pytest.approx(2000, abs=100)
    struct.pack_into(">d", data, place, 20_000.0)
    path.write_bytes(data)
    assert code_of(path) == "media_truncated"


def test_a_picture_without_end_is_refused(maker: Maker) -> None:
    """A header that says 16000x16000 is enough: nothing of that size is ever allocated."""
    huge = maker.video("huge.mp4", frames=5)
    data = bytearray(huge.read_bytes())
    struct.pack_into(">HH", data, data.index(b"avc1", data.index(b"stsd")) + 28, 16000, 16000)
    huge.write_bytes(data)
    assert code_of(huge) == "media_too_large"


def test_a_size_that_only_the_codec_knows_is_refused(maker: Maker) -> None:
    """The container says 192x128, the H.264 stream inside says 4128x2576: the decoder must not believe it."""
    source = "color=c=red:s=4064x2560:r=5:d=0.4"
    liar = maker.folder / "liar.mp4"
    run_ffmpeg("-f", "lavfi", "-i", source, "-c:v", "libx264", "-preset", "ultrafast", str(liar))
    data = bytearray(liar.read_bytes())
    place = data.index(b"avc1", data.index(b"stsd")) + 28
    assert struct.unpack_from(">HH", data, place) == (4064, 2560)
    struct.pack_into(">HH", data, place, 192, 128)
    liar.write_bytes(data)
    assert code_of(liar) == "media_too_large"


def test_a_strip_is_refused(maker: Maker) -> None:
    run_ffmpeg("-f", "lavfi", "-i", "color=s=4112x16:r=25:d=0.2", "-c:v", "libx264", str(maker.folder / "strip.mp4"))
    assert code_of(maker.folder / "strip.mp4") == "media_too_large"


def test_eleven_minutes_are_refused(maker: Maker) -> None:
    words = ("-f", "lavfi", "-i", "color=s=32x32:r=1:d=660", "-c:v", "libx264", "-preset", "ultrafast")
    run_ffmpeg(*words, str(maker.folder / "long.mp4"))
    assert code_of(maker.folder / "long.mp4") == "media_too_large"


def test_a_file_over_two_gibibytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vast.mp4"
    with path.open("wb") as file:
        file.truncate((2 << 30) + 1)
    assert code_of(path) == "media_too_large"


def test_sound_without_picture_and_picture_without_sound(maker: Maker) -> None:
    assert code_of(maker.wav("a.wav", clicks(1, [0.5]))) == "no_video"
    run_ffmpeg("-i", str(maker.folder / "a.wav"), str(maker.folder / "a.m4a"))
    assert code_of(maker.folder / "a.m4a") == "no_video"
    mute = maker.video("v.mp4", click_at=None, frames=5)
    assert code_of(mute) == "no_audio"
    assert not probe_picture(mute).has_audio


def test_a_codec_off_the_list_is_refused(maker: Maker) -> None:
    odd = maker.folder / "odd.mkv"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x64:d=0.2", "-c:v", "ffv1", str(odd))
    with pytest.raises(InputRefusedError) as caught:
        probe_picture(odd)
    assert caught.value.code == "media_format_refused"


def test_a_name_can_not_be_an_option_or_a_protocol(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    source = maker.video("v.mp4", frames=5)
    monkeypatch.chdir(maker.folder)
    for name in ("-i.mp4", "concat:a|b.mp4", "pipe:0", "a b'c%d.mp4"):
        Path(name).write_bytes(source.read_bytes())
        assert probe(Path(name)).width == 192


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.m4a", "a.ogg", "a.flac", "a.aac"])
def test_probes_plain_sound(maker: Maker, name: str) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 48000).astype(np.float32)
    source = maker.wav("source.wav", noise)
    run_ffmpeg("-i", str(source), str(maker.folder / name))
    assert probe_audio(maker.folder / name).duration_s == pytest.approx(1, abs=0.08)


def test_real_clips_are_what_their_notes_say(clips: Path) -> None:
    first, second = probe(clips / "adapt" / "id01.mp4"), probe(clips / "pretrain" / "id02.mp4")
    assert (first.frame_count, first.fps, first.width, first.height) == (1779, 25.0, 512, 512)
    assert second.fps == 30.0
    assert second.video_start_s - second.origin_s == pytest.approx(0.08)
    assert probe(clips / "pretrain" / "id09.mp4").video_codec == "mpeg4"


def test_every_refusal_is_one_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(b"\x00\x00\x00\x08wide" + b"\xff" * 100)
    with pytest.raises(LikenessError):
        probe(path)
