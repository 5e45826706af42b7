"""The first code of every fenced process: puts limits on itself, then becomes the program it was asked to run.

Started as `python -I -S launcher.py PARENT MEMORY CPU FILE_SIZE OPEN_FILES -- PROGRAM ARGUMENTS...`. It imports
nothing but small standard modules, so that it costs about 20 ms, and must not know what it runs. Limits set here
survive `exec`; setting them between fork and exec in the parent instead would be unsafe beside threads.
"""

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


def _main(arguments: list[str]) -> None:
    parent, memory, cpu, file_size, open_files = (int(word) for word in arguments[:5])
    if arguments[5] != "--":
        raise SystemExit("launcher: no --")
    program = arguments[6:]
    os.rmdir(os.getcwd())  # noqa: PTH106, PTH109 - its scratch folder: nothing can be left in a folder that is gone
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_PDEATHSIG, signal.SIGKILL), (_PR_SET_NO_NEW_PRIVS, 1)):
        if libc.prctl(option, int(value), 0, 0, 0) != 0:
            raise SystemExit(f"launcher: prctl {option}: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:  # the parent died before the death signal was asked for
        raise SystemExit("launcher: orphan")
    for kind, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, file_size),
        (resource.RLIMIT_NOFILE, open_files),
    ):
        resource.setrlimit(kind, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores both, and an ignored signal survives exec
        signal.signal(number, signal.SIG_DFL)
    os.execv(program[0], program)  # noqa: S606 - this is its whole purpose


if __name__ == "__main__":
    _main(sys.argv[1:])
