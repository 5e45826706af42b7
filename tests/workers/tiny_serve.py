"""Test-only entry point: the embedded platform with the tiny worker, as a process of its own. Prints its address."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from cli.console import print_json
from cli.serve import embedded_platform
from core.settings import load_settings
from workers.logs import configure_logs

TINY_WORKER = [sys.executable, str(Path(__file__).with_name("tiny_worker.py")), "cpu,train,render"]

if __name__ == "__main__":
    configure_logs(sys.stderr)  # not to the pipe in which the address is told: nobody may be reading that
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with embedded_platform(load_settings(), TINY_WORKER) as running:
        print_json({"url": running.url, "api_key": running.api_key})
        sys.stdout.flush()
        stop.wait()
