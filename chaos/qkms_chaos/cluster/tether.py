"""Run as a script: ties the program it becomes to the life of the driver that started it.

    python tether.py DRIVER_PID PROGRAM ARGUMENT...

Asks the kernel to send SIGKILL when the driver is gone, however it went, then
becomes PROGRAM under the same process id. A script of its own, because code
between fork and exec is not safe in a process that has threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    driver, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
        # The driver may have died before the request was made.
        if os.getppid() != driver:
            sys.exit("the driver is gone")
    os.execv(program[0], program)  # noqa: S606


if __name__ == "__main__":
    main()
