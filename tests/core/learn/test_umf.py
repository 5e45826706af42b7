"""The universal field's file: what ships is found and fits, what is damaged, strange or foreign is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from core.avatar import FaceField, MouthField
from core.errors import BundleError, UsageError
from core.learn.umf import FORMAT, UmfCard, find_umf, learn_only, shipped_umfs, write_umf

CARD = UmfCard(FORMAT, "whisper-tiny.en-encoder-2s", 64, 64, {"a": 1.0}, 10, "0", "Apache-2.0")


def code_of(name: str) -> str:
    with pytest.raises((BundleError, UsageError)) as caught:
        find_umf(name)
    return caught.value.code


def test_base_ships_and_names_its_corpus() -> None:
    assert "base" in shipped_umfs()
    base = find_umf("base")
    assert base is not None
    assert len(base.card.corpus) == 17
    assert not any(name in base.card.corpus for name in ("id01", "id03"))  # kept for tests of adaptation


def test_behind_a_fresh_aligner_the_field_answers_as_it_was_trained() -> None:
    base = find_umf("base")
    assert base is not None
    aligned = base.face_field()
    plain = FaceField()
    plain.load_state_dict({k: v for k, v in aligned.state_dict().items() if not k.startswith("aligner.")})
    points, windows, expression = torch.rand(40, 3) * 0.1, torch.randn(8, 16, 64), torch.rand(6)
    with torch.no_grad():
        difference = aligned(points, windows, expression).translation - plain(points, windows, expression).translation
    assert difference.abs().max() < 1e-5  # metres


def test_only_the_aligner_learns_where_the_field_is_frozen() -> None:
    field = FaceField(aligned=True)
    learn_only(field, aligner=True)
    learning = {name.split(".")[0] for name, parameter in field.named_parameters() if parameter.requires_grad}
    assert learning == {"aligner"}
    learn_only(field, aligner=False)
    assert not any(p.requires_grad for name, p in field.named_parameters() if name.startswith("aligner."))


def test_a_written_field_is_read_back_by_path(tmp_path: Path) -> None:
    field, path = FaceField(), tmp_path / "mine.safetensors"
    write_umf(path, field, None, CARD)
    found = find_umf(str(path))
    assert found is not None and (found.name, found.card) == ("mine", CARD)
    again = found.face_field()
    assert torch.equal(again.grid.table, field.grid.table)


def test_a_mouth_field_is_read_back_and_absent_where_the_file_has_none(tmp_path: Path) -> None:
    face, mouth, path = FaceField(), MouthField(), tmp_path / "both.safetensors"
    write_umf(path, face, mouth, dataclasses.replace(CARD, mouth_hidden=32, photometric={"face": 0, "mouth": 9}))
    found = find_umf(str(path))
    assert found is not None and found.card.photometric == {"face": 0, "mouth": 9}
    again = found.mouth_field()
    assert again is not None
    for name, value in mouth.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert torch.equal(found.face_field().grid.table, face.grid.table)
    write_umf(path, face, None, CARD)
    alone = find_umf(str(path))
    assert alone is not None and alone.mouth_field() is None


def test_a_field_that_lacks_what_its_card_promises_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "poor.safetensors"
    write_umf(path, FaceField(), None, dataclasses.replace(CARD, mouth_hidden=32))
    found = find_umf(str(path))
    assert found is not None
    with pytest.raises(BundleError) as caught:
        found.mouth_field()
    assert caught.value.code == "umf_damaged"


def test_none_means_from_scratch() -> None:
    assert find_umf("none") is None


def test_refusals(tmp_path: Path) -> None:
    assert code_of("nobody") == "umf_unknown"
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"no field at all")
    assert code_of(str(junk)) == "umf_damaged"
    for change, code in (
        ({"format_version": "3.0"}, "umf_version_unknown"),
        ({"speech_features": "deepspeech"}, "umf_of_other_speech"),
    ):
        path = tmp_path / f"{code}.safetensors"
        write_umf(path, FaceField(), None, dataclasses.replace(CARD, **change))
        assert code_of(str(path)) == code


def test_a_newer_minor_version_loads(tmp_path: Path) -> None:
    path = tmp_path / "newer.safetensors"
    write_umf(path, FaceField(), None, dataclasses.replace(CARD, format_version=f"{FORMAT.split('.')[0]}.7"))
    assert find_umf(str(path)) is not None
