"""The native kernels under AddressSanitizer and UndefinedBehaviorSanitizer, on fuzzed sizes and numbers."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
COMPILER = os.environ.get("CXX", "g++")


def sanitizers_link(folder: Path) -> bool:
    """Whether the compiler has its sanitizers' libraries; some distributions ship them apart."""
    source = folder / "empty.cpp"
    source.write_text("int main() {}\n")
    command = [COMPILER, "-fsanitize=address,undefined", str(source), "-o", str(folder / "empty")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not (shutil.which("make") and shutil.which(COMPILER)), reason="needs make and a C++ compiler")
def test_no_kernel_reads_or_writes_where_it_must_not(tmp_path: Path) -> None:
    if not sanitizers_link(tmp_path):
        pytest.skip(f"{COMPILER} has no sanitizers here")
    command = ["make", "-j2", "sanitize", f"CXX={COMPILER}", f"SANITIZED={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    assert "25 rounds of every kernel, no finding" in done.stdout
