"""The fence: what runs inside is limited, and never outlives us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.media import fence
from core.media.fence import FenceError, Limits

PYTHON = sys.executable
Running = Callable[[int], bool]


LIMITS = Limits(wall_s=20)


def ask_python(code: str, limits: Limits = LIMITS) -> fence.Finished:
    return fence.run([PYTHON, "-I", "-S", "-c", code], limits)


def wait_until_gone(pid: int, is_running: Running) -> bool:
    for _ in range(200):
        if not is_running(pid):
            return True
        time.sleep(0.02)
    return False


def test_returns_output_and_status() -> None:
    done = ask_python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", "err\n")


def test_environment_is_empty_and_its_folder_is_gone() -> None:
    done = ask_python("import os; print(sorted(set(os.environ) - {'LC_CTYPE'}), os.listdir()); open('x', 'w')")
    assert done.stdout.decode().split() == ["[]", "[]"]
    assert "FileNotFoundError" in done.stderr


def test_no_new_privileges_own_session_no_core_dumps() -> None:
    code = (
        "import os, resource; print(os.getsid(0) == os.getpid(), resource.getrlimit(resource.RLIMIT_CORE));"
        "print([l.split()[1] for l in open('/proc/self/status') if l.startswith('NoNewPrivs')])"
    )
    assert ask_python(code).stdout.decode().split("\n")[:2] == ["True (0, 0)", "['1']"]


def test_memory_is_limited() -> None:
    done = ask_python("b = bytearray(600 << 20)", Limits(wall_s=20, memory_bytes=300 << 20))
    assert done.returncode == 1
    assert "MemoryError" in done.stderr


def test_processor_time_is_limited() -> None:
    done = ask_python("while True: pass", Limits(wall_s=20, cpu_s=1))
    assert done.returncode == -signal.SIGXCPU


def test_file_size_is_limited(tmp_path: Path) -> None:
    target = tmp_path / "big"
    code = (
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        f"f = open({str(target)!r}, 'wb', 0)\nfor _ in range(9): f.write(bytes(1000))"
    )
    assert ask_python(code, Limits(wall_s=20, file_bytes=5000)).returncode == -signal.SIGXFSZ
    assert target.stat().st_size <= 5000


def test_open_files_are_limited() -> None:
    done = ask_python("f = [open('/dev/null') for _ in range(50)]", Limits(wall_s=20, open_files=20))
    assert "Too many open files" in done.stderr


def test_time_out_kills_the_whole_group(tmp_path: Path, is_running: Running) -> None:
    note = tmp_path / "pid"
    code = f"import os, time\nchild = os.fork()\nif child: open({str(note)!r}, 'w').write(str(child))\ntime.sleep(60)"
    begun = time.monotonic()
    with pytest.raises(FenceError) as caught:
        ask_python(code, Limits(wall_s=1.5, file_bytes=1000))
    assert caught.value.reason == "timeout"
    assert time.monotonic() - begun < 10
    assert wait_until_gone(int(note.read_text()), is_running)


def test_too_much_output_is_stopped() -> None:
    with pytest.raises(FenceError) as caught:
        fence.run([PYTHON, "-I", "-S", "-c", "while True: print('x' * 1000)"], Limits(wall_s=20), stdout_bytes=100_000)
    assert caught.value.reason == "output"


def test_a_flood_of_complaints_neither_blocks_nor_fills_memory() -> None:
    done = ask_python("import sys\nfor k in range(100_000): print('complaint', k, file=sys.stderr)")
    assert done.returncode == 0
    assert done.stderr.startswith("complaint 0\n")
    assert done.stderr.endswith("complaint 99999\n")
    assert len(done.stderr) < 300_000


def test_an_exception_in_the_block_ends_the_process(is_running: Running) -> None:
    with pytest.raises(KeyError), fence.started(["/bin/sleep", "60"], Limits()) as process:
        pid = process.pid
        assert is_running(pid)
        raise KeyError
    assert not is_running(pid)


def test_time_in_which_it_waits_for_us_does_not_count() -> None:
    code = "import sys\nfor k in range(4): sys.stdout.buffer.write(bytes(200_000))"
    with fence.started([PYTHON, "-I", "-S", "-c", code], Limits(wall_s=1.0)) as process:
        buffer = memoryview(bytearray(200_000))
        for _ in range(4):
            time.sleep(0.4)
            assert process.read_into(buffer) == 200_000
        assert process.finish() == 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_dies_with_its_parent(how: signal.Signals, is_running: Running) -> None:
    code = (
        "import sys, time; from core.media import fence\n"
        "with fence.started(['/bin/sleep', '60'], fence.Limits()) as p: print(p.pid, flush=True); time.sleep(60)"
    )
    root = str(Path(__file__).resolve().parents[3])
    parent = subprocess.Popen([PYTHON, "-c", code], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root})
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert is_running(pid)
    parent.send_signal(how)
    parent.wait(10)
    parent.stdout.close()
    assert wait_until_gone(pid, is_running)


def test_a_process_that_someone_else_killed_is_nobodys_fault() -> None:
    with pytest.raises(fence.ProcessKilledError) as killed:
        ask_python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert killed.value.retryable
    with pytest.raises(FenceError):  # by the fence itself it is, as before
        ask_python("while True: pass", Limits(wall_s=0.5))
