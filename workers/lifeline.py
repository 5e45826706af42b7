"""A supervised worker ends when its supervisor does, however the supervisor ended: nothing is left running."""

from __future__ import annotations

import os
import signal
import threading
import time

POLL_SECONDS = 0.5
GRACE_SECONDS = 8.0


def end_with_parent(parent: int) -> None:
    """Watch the parent process from a thread. When it is gone: SIGTERM here, after a grace SIGKILL to the group.

    This process must lead its own process group, as the supervisor starts it. `parent` is what the supervisor says of
    itself: asked here, it may be gone already, and another process in its place.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        if os.getpgid(0) == os.getpid():
            os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
