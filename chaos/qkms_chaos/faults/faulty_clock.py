"""A wall clock that can be set for one process, by libfaketime; monotonic time goes on as it does.

The offset is in a file that the process looks at once a second.
"""

from pathlib import Path

from qkms_chaos.faults.network import Unsupported

LIBRARIES = (
    Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"),
    Path("/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"),
    Path("/usr/lib/faketime/libfaketimeMT.so.1"),
)


class FaultyClock:
    """The clock of processes that run in `environment`. Raises Unsupported where libfaketime is not installed."""

    def __init__(self, file: Path) -> None:
        library = next((path for path in LIBRARIES if path.exists()), None)
        if library is None:
            raise Unsupported("libfaketime is not installed: run `make tunnels` as root")
        self._file = file
        self.set(0.0)
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_CACHE_DURATION": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset_s: float) -> None:
        """The clock is so much ahead from now on, or behind."""
        aside = self._file.with_suffix(".aside")
        aside.write_text(f"{offset_s:+.3f}\n")
        aside.replace(self._file)
