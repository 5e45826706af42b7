"""The Dockerfiles and what they install. hadolint, which is GPL, is run by hand (docs/operations.md)."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.files import ROOT, parse

FOLDER = ROOT / "infra" / "docker"
FILES = sorted(FOLDER.glob("Dockerfile*"))


def last_stage(path: Path, target: str | None = None) -> list[str]:
    """The instructions of a stage and of those that it is made from, continued lines joined."""
    joined = re.sub(r"\\\n\s*", " ", path.read_text())
    lines = [line.strip() for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    stages: dict[str, list[str]] = {}
    name = ""
    for line in lines:
        found = re.fullmatch(r"FROM (\S+) AS (\S+)", line)
        if found:
            name = found[2]
            stages[name] = list(stages.get(found[1], []))
        elif name:
            stages[name].append(line)
    return stages[target or name]


@pytest.mark.parametrize(("file", "target"), [(FILES[0], "api"), (FILES[0], "worker"), (FILES[1], "worker-cuda")])
def test_an_image_is_no_root_and_stops_and_is_probed(file: Path, target: str) -> None:
    stage = last_stage(file, target)
    users = [line.split()[1] for line in stage if line.startswith("USER ")]
    assert users and all(user == "10001" for user in users)
    assert 'ENTRYPOINT ["tini", "--", "likeness"]' in stage
    assert "STOPSIGNAL SIGTERM" in stage
    assert any(line.startswith("HEALTHCHECK ") for line in stage)
    (command,) = [line for line in stage if line.startswith("CMD ")]
    parse(re.findall(r'"([^"]+)"', command))


@pytest.mark.parametrize("target", ["api", "worker"])
def test_no_compiler_is_left_in_an_image(target: str) -> None:
    assert "g++" not in " ".join(last_stage(FOLDER / "Dockerfile", target))


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_base_images_are_pinned(file: Path) -> None:
    for name in re.findall(r"^ARG PYTHON_IMAGE=(\S+)", file.read_text(), re.M):
        assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", name)
    assert set(re.findall(r"^FROM (\S+)", file.read_text(), re.M)) <= {"${PYTHON_IMAGE}", "base"}


def test_what_is_copied_exists() -> None:
    for file in FILES:
        for source in re.findall(r"^COPY (?!--from)(\S+) ", file.read_text(), re.M):
            assert (ROOT / source).exists(), source


def test_the_list_of_the_apis_packages_is_current() -> None:
    spec = importlib.util.spec_from_file_location("api_requirements", FOLDER / "api_requirements.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.FILE.read_text() == module.requirements(), "run infra/docker/api_requirements.py"
    assert not re.search(r"^(torch|numpy|mediapipe|opencv)", module.FILE.read_text(), re.M)


def test_secrets_stay_out_of_images_and_of_the_repository() -> None:
    assert ".env" in (ROOT / ".dockerignore").read_text().splitlines()
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_new_secrets_are_long_and_differ() -> None:
    printed = subprocess.run(["sh", str(FOLDER / "new-env.sh")], capture_output=True, text=True, check=True).stdout
    secrets = dict(line.split("=") for line in printed.splitlines())
    assert set(secrets) == {"LIKENESS_SECRET_KEY", "POSTGRES_PASSWORD", "VALKEY_PASSWORD", "S3_SECRET_KEY"}
    assert len(set(secrets.values())) == 4
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in secrets.values())


BLOCKED_PROGRAM = """
import importlib.abc, re, sys
from pathlib import Path
science = {science!r}

class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in science:
            raise ImportError(name + " is not in the image of the API")

sys.meta_path.insert(0, Block())
from cli.main import main
main()
"""
SCIENCE = ("torch", "numpy", "scipy", "mediapipe", "cv2", "skimage", "ctranslate2", "ai_edge_litert", "safetensors",
           "imageio_ffmpeg", "ffmpeg", "dlib", "psutil")  # fmt: skip


@pytest.mark.parametrize("command", ["api", "background"])
def test_what_the_api_image_runs_starts_without_the_science(command: str, tmp_path: Path) -> None:
    program = BLOCKED_PROGRAM.format(science=SCIENCE)
    ended = subprocess.run(
        [sys.executable, "-c", program, command],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LIKENESS_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "database_not_migrated" in ended.stderr, ended.stderr
