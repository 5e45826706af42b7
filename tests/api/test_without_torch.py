"""The API needs nothing of the science: it starts and answers where torch and its like can't be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLOCKED = ("torch", "mediapipe", "cv2", "numpy", "scipy", "ctranslate2", "ai_edge_litert", "skimage")
PROGRAM = f"""
import sys, importlib.abc

class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r}:
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, Block())
try:
    import torch
except ImportError:
    pass
else:
    raise SystemExit("the block does not work")

import socket, threading, time, urllib.request
from pathlib import Path
import uvicorn
from api.app import create_app
from api.bootstrap import first_key, open_platform
from core.settings import load_settings
from workers.logs import configure_logs

configure_logs(sys.stderr)
platform = open_platform(load_settings(data_dir=Path(sys.argv[1])))
key = first_key(platform)
listener = socket.create_server(("127.0.0.1", 0))
server = uvicorn.Server(uvicorn.Config(create_app(platform), log_level="warning", lifespan="off"))
threading.Thread(target=server.run, kwargs={{"sockets": [listener]}}, daemon=True).start()
while not server.started:
    time.sleep(0.02)
url = "http://127.0.0.1:%d/v1/" % listener.getsockname()[1]
for path in ("readyz", "jobs", "umfs"):
    request = urllib.request.Request(url + path, headers={{"Authorization": "Bearer " + key}})
    print(path, urllib.request.urlopen(request).status)
import likeness_client, workers.app
print("loaded", sorted(name for name in sys.modules if name.split(".")[0] in {BLOCKED!r}))
"""


def test_the_api_imports_and_serves_with_torch_blocked(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "data")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["readyz 200", "jobs 200", "umfs 200", "loaded []"]
