"""A disk that fails on demand for one process, by a shim in C that stands before its system calls.

The rules are those of `disk_shim/shim.h`. They may be changed while the process runs.
"""

import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).with_name("disk_shim")


class CompilerMissing(Exception):
    """There is no C compiler on this machine; the message says how to get one."""


def build_shim(folder: Path) -> Path:
    """Compiles the shim into `folder`. Raises CompilerMissing."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise CompilerMissing(
            "the disk shim needs a C compiler: `make test` as root, or apt-get install gcc libc6-dev"
        )
    target = folder / "disk_shim.so"
    flags = ["-std=gnu11", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"]
    sources = sorted(SOURCES.glob("*.c"))
    subprocess.run([compiler, *flags, "-o", target, *sources, "-ldl"], check=True)
    return target


class FaultyDisk:
    """The files below `folder`, as the process that runs in `environment` sees them."""

    def __init__(self, shim: Path, folder: Path) -> None:
        self._rules = folder.with_name(f"{folder.name}.rules")
        self._trace = folder.with_name(f"{folder.name}.trace")
        self.heal()
        self.environment = {
            "LD_PRELOAD": str(shim),
            "QKMS_DISK": str(folder),
            "QKMS_DISK_RULES": str(self._rules),
        }

    def fail(self, *rules: str) -> None:
        """From now on only these rules hold, each counted from here."""
        # Renamed into place: another inode is how the shim knows other rules.
        aside = self._rules.with_suffix(".aside")
        aside.write_text("\n".join(rules))
        aside.replace(self._rules)

    def heal(self) -> None:
        """The disk is sound again."""
        self.fail()

    def trace(self) -> None:
        """Calls of processes started from now on are recorded."""
        self.environment["QKMS_DISK_TRACE"] = str(self._trace)

    def calls(self) -> list[tuple[str, Path]]:
        """What was recorded, in order: the name of the call and the file."""
        lines = self._trace.read_text().splitlines()
        return [(call, Path(path)) for call, _, path in (line.partition(" ") for line in lines)]
