"""What a bundle keeps, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import os
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from core.bundle.archive import is_safe_name, write_archive
from core.bundle.file import AVATAR, HEAD, MANIFEST, REQUIRED, read_bundle, write_bundle
from core.bundle.manifest import Manifest
from core.errors import BundleError, UsageError

Members = dict[str, Path | bytes]


def code_of(path: Path) -> str:
    with pytest.raises(BundleError) as caught:
        read_bundle(path)
    assert caught.value.hint
    return caught.value.code


def rewrite(source: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """The bundle again with changed members, by Python's own zip writer."""
    with zipfile.ZipFile(source) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    change(contents)
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in contents.items():
            archive.writestr(zipfile.ZipInfo(name), data)


def change_manifest(source: Path, target: Path, change: Callable[[dict[str, object]], None]) -> None:
    def edit(contents: dict[str, bytes]) -> None:
        values = json.loads(contents[MANIFEST])
        change(values)
        contents[MANIFEST] = json.dumps(values).encode()

    rewrite(source, target, edit)


def test_what_is_written_is_read(bundle_file: Path, manifest: Manifest, members: Members) -> None:
    bundle = read_bundle(bundle_file)
    for name, content in members.items():
        assert bundle.read(name) == content
        assert bundle.manifest.members[name].sha256 == hashlib.sha256(bundle.read(name)).hexdigest()
    assert {**vars(bundle.manifest), "members": {}} == vars(manifest)
    assert bundle.manifest.camera.cx == 128


def test_pythons_own_zip_reader_agrees_and_nothing_is_compressed(bundle_file: Path, members: Members) -> None:
    with zipfile.ZipFile(bundle_file) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {MANIFEST, *members}
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())


def test_same_members_give_the_same_bytes(tmp_path: Path, manifest: Manifest, members: Members) -> None:
    for name in ("a", "b"):
        write_bundle(tmp_path / name, manifest, members)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_members_may_be_files(tmp_path: Path, manifest: Manifest, members: Members) -> None:
    (tmp_path / "head").write_bytes(b"ply of a head")
    write_bundle(tmp_path / "b", manifest, {**members, HEAD: tmp_path / "head"})
    bundle = read_bundle(tmp_path / "b")
    assert bundle.read(HEAD) == b"ply of a head"
    assert bundle.extract(HEAD, tmp_path).read_bytes() == b"ply of a head"


def test_a_failed_write_leaves_the_old_bundle_and_nothing_else(
    bundle_file: Path, manifest: Manifest, members: Members
) -> None:
    before = bundle_file.read_bytes()
    with pytest.raises(FileNotFoundError):
        write_bundle(bundle_file, manifest, {**members, HEAD: bundle_file.parent / "absent"})
    with pytest.raises(ValueError, match="unsafe"):
        write_archive(bundle_file, {"ok": b"", "../up": b""})
    assert bundle_file.read_bytes() == before
    assert list(bundle_file.parent.iterdir()) == [bundle_file]


def test_writing_without_a_required_member_is_refused(tmp_path: Path, manifest: Manifest, members: Members) -> None:
    del members[AVATAR]
    with pytest.raises(BundleError) as caught:
        write_bundle(tmp_path / "b", manifest, members)
    assert caught.value.code == "bundle_member_missing"
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_bundle(tmp_path / "absent")
    assert caught.value.code == "file_not_found"


@pytest.mark.parametrize("content", [b"", b"text", b"\x00" * 4000, b"\x89PNG" + b"x" * 100])
def test_another_file_is_not_a_bundle(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.likeness"
    path.write_bytes(content)
    assert code_of(path) == "not_a_bundle"


def test_a_zip_without_manifest_is_not_a_bundle(bundle_file: Path, tmp_path: Path) -> None:
    rewrite(bundle_file, tmp_path / "x", lambda contents: contents.pop(MANIFEST) and None)
    assert code_of(tmp_path / "x") == "not_a_bundle"


def test_every_cut_is_refused(bundle_file: Path, tmp_path: Path) -> None:
    whole = bundle_file.read_bytes()
    path = tmp_path / "x"
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        assert code_of(path) in {"not_a_bundle", "bundle_damaged"}


def test_every_changed_byte_is_refused_or_changes_nothing_that_is_read(bundle_file: Path, tmp_path: Path) -> None:
    whole = bundle_file.read_bytes()
    original = read_bundle(bundle_file)
    chance = random.Random(0)
    path = tmp_path / "x"
    refused = 0
    for _ in range(600):
        position = chance.randrange(len(whole))
        forged = bytearray(whole)
        forged[position] ^= 1 << chance.randrange(8)
        path.write_bytes(forged)
        try:
            bundle = read_bundle(path)
        except BundleError:
            refused += 1
            continue
        assert bundle.manifest == original.manifest
        assert all(bundle.read(name) == original.read(name) for name in REQUIRED)
    assert refused > 500


def test_bytes_before_and_after_are_refused(bundle_file: Path, tmp_path: Path) -> None:
    whole = bundle_file.read_bytes()
    path = tmp_path / "x"
    path.write_bytes(b"#!/bin/sh\n" + whole)
    assert code_of(path) == "bundle_damaged"
    path.write_bytes(whole + b"tail")
    assert code_of(path) == "bundle_damaged"
    path.write_bytes(whole[:-2] + struct.pack("<H", 4) + b"tail")
    assert code_of(path) in {"bundle_damaged", "not_a_bundle"}


def test_a_gap_between_members_is_refused(bundle_file: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle_file) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    path = tmp_path / "x"
    with path.open("wb") as file, zipfile.ZipFile(file, "w") as archive:
        for name, data in contents.items():
            archive.writestr(zipfile.ZipInfo(name), data)
            archive.fp.write(b"hidden")  # type: ignore[union-attr]
            archive.start_dir = file.tell()
    assert code_of(path) == "bundle_damaged"


def test_compressed_members_are_refused(bundle_file: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle_file) as source, zipfile.ZipFile(tmp_path / "x", "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert code_of(tmp_path / "x") == "bundle_damaged"


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../up", "a/../../b", "a\\b", "C:/x", "portrait/", "a//b", ".hidden", "Avatar", "ä", "a\x00b"],
)
def test_forged_names_are_refused(bundle_file: Path, tmp_path: Path, name: str) -> None:
    rewrite(bundle_file, tmp_path / "x", lambda contents: contents.update({name: b"x"}))
    with zipfile.ZipFile(tmp_path / "x") as archive:
        stored = archive.namelist()[-1]
    assert code_of(tmp_path / "x") == "bundle_damaged"
    assert not is_safe_name(stored) or stored == "a"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(bundle_file: Path, tmp_path: Path) -> None:
    rewrite(bundle_file, tmp_path / "x", lambda contents: None)
    with zipfile.ZipFile(tmp_path / "x", "a") as archive:
        archive.writestr(zipfile.ZipInfo(HEAD), b"another")
    assert code_of(tmp_path / "x") == "bundle_damaged"


@pytest.mark.parametrize("mode", [0o120777, 0o040755, 0o010644])
def test_links_folders_and_pipes_are_refused(bundle_file: Path, tmp_path: Path, mode: int) -> None:
    rewrite(bundle_file, tmp_path / "x", lambda contents: None)
    with zipfile.ZipFile(tmp_path / "x", "a") as archive:
        info = zipfile.ZipInfo("link")
        info.create_system = 3
        info.external_attr = mode << 16
        archive.writestr(info, b"/etc/passwd")
    assert code_of(tmp_path / "x") == "bundle_damaged"


def test_too_many_members_are_refused(bundle_file: Path, tmp_path: Path) -> None:
    rewrite(bundle_file, tmp_path / "x", lambda contents: contents.update({f"m{k}": b"" for k in range(70)}))
    assert code_of(tmp_path / "x") == "bundle_too_large"


def test_a_huge_file_is_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.touch()
    os.truncate(path, 2**40)
    assert code_of(path) == "bundle_too_large"


def test_a_member_changed_with_its_checksum_is_refused(bundle_file: Path, tmp_path: Path) -> None:
    rewrite(bundle_file, tmp_path / "x", lambda contents: contents.update({HEAD: contents[HEAD][::-1]}))
    assert code_of(tmp_path / "x") == "bundle_damaged"


def test_a_member_that_the_manifest_does_not_name_is_refused(bundle_file: Path, tmp_path: Path) -> None:
    rewrite(bundle_file, tmp_path / "x", lambda contents: contents.update({"extra.bin": b"x"}))
    assert code_of(tmp_path / "x") == "bundle_damaged"


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_member_is_named(bundle_file: Path, tmp_path: Path, name: str) -> None:
    rewrite(bundle_file, tmp_path / "x", lambda contents: contents.pop(name) and None)
    assert code_of(tmp_path / "x") == "bundle_member_missing"


def test_a_file_that_changes_after_it_was_opened_is_noticed(bundle_file: Path) -> None:
    bundle = read_bundle(bundle_file)
    entry = bundle.entries[HEAD]
    with bundle_file.open("r+b") as file:
        file.seek(entry.offset)
        file.write(b"forged")
    with pytest.raises(BundleError) as caught:
        bundle.read(HEAD)
    assert caught.value.code == "bundle_damaged"


@pytest.mark.parametrize("version", ["2.0", "0.9", "10.1"])
def test_another_major_version_is_refused_by_name(bundle_file: Path, tmp_path: Path, version: str) -> None:
    change_manifest(bundle_file, tmp_path / "x", lambda values: values.update(format_version=version))
    with pytest.raises(BundleError, match=version) as caught:
        read_bundle(tmp_path / "x")
    assert caught.value.code == "bundle_version_unknown"


def test_a_later_minor_version_with_more_in_it_loads(bundle_file: Path, tmp_path: Path) -> None:
    def later(contents: dict[str, bytes]) -> None:
        values = json.loads(contents[MANIFEST])
        values |= {"format_version": "1.7", "voice": {"pitch": 1}}
        contents["voice.bin"] = b"later"
        values["members"]["voice.bin"] = {"sha256": hashlib.sha256(b"later").hexdigest(), "size": 5, "kind": "voice"}
        contents[MANIFEST] = json.dumps(values).encode()

    rewrite(bundle_file, tmp_path / "x", later)
    bundle = read_bundle(tmp_path / "x")
    assert bundle.manifest.format_version == "1.7"
    assert bundle.read("voice.bin") == b"later"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format_version", "one"), ("format_version", 1), ("size", "256"), ("size", 10**9), ("size", True),
        ("focal", None), ("focal", float("nan")), ("focal", -1), ("crop", [1, 2]), ("crop", [1, 2, 0]),
        ("speech", []), ("speech", {"name": "x"}), ("umf", {"name": "x", "sha256": "short"}), ("members", None),
        ("metrics", {"psnr": "high"}), ("metrics", {"psnr": float("inf")}), ("metrics", {"psnr": 10**400}),
        ("id", "x" * 1000), ("consent_id", 7), ("lag_frames", 1000), ("source_frames", {"start": 0, "count": 0}),
    ],
)  # fmt: skip
def test_a_manifest_with_a_wrong_value_is_refused(bundle_file: Path, tmp_path: Path, key: str, value: object) -> None:
    change_manifest(bundle_file, tmp_path / "x", lambda values: values.update({key: value}))
    assert code_of(tmp_path / "x") == "bundle_damaged"


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, "{", "null", '{"format_version": ' + "9" * 5000 + "}"])
def test_a_manifest_that_is_none_is_refused(bundle_file: Path, tmp_path: Path, text: str) -> None:
    rewrite(bundle_file, tmp_path / "x", lambda contents: contents.update({MANIFEST: text.encode()}))
    assert code_of(tmp_path / "x") == "bundle_damaged"
