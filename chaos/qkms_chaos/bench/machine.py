"""What the benchmark ran on: processor, versions, how long this disk takes to sync, what processes use.

Reads /proc: Linux only.
"""

import os
import platform
import ssl
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from qkms_chaos.bench.figures import Spread, spread_of

KIB = 1024
PREALLOCATED = 4 << 20
_USER_TICKS, _SYSTEM_TICKS = 11, 12  # fields of /proc/PID/stat after the name


def describe() -> dict[str, str]:
    """Names and versions; `load` is how busy the machine was before the benchmark began."""
    return {
        "cpu": f"{os.cpu_count()} x {_cpu_model()}",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "openssl": ssl.OPENSSL_VERSION,
        "pysyncobj": version("pysyncobj"),
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def fdatasync_times(folder: Path, size: int, count: int) -> dict[str, Spread]:
    """Of `count` writes of `size` bytes, each synced: to a file that grows, and to a preallocated one."""
    return {
        "growing": _sync_each(folder / "growing", size, count, 0),
        "preallocated": _sync_each(folder / "preallocated", size, count, PREALLOCATED),
    }


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process has used, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Memory:
    """Of one process, in bytes (2**10 bytes to the kernel's kB): resident now, and at most since it was reset."""

    resident_bytes: int
    peak_bytes: int


def memory(pid: int | str) -> Memory:
    """VmRSS and VmHWM."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    sizes = {name: rest.split()[0] for name, _, rest in (line.partition(":") for line in lines) if rest.strip()}
    return Memory(int(sizes["VmRSS"]) * KIB, int(sizes["VmHWM"]) * KIB)


def reset_peak(pid: int) -> None:
    """VmHWM begins anew at what is resident now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


class Processors:
    """Watches from its making on how much of the machine's processors this benchmark does not use itself."""

    def __init__(self) -> None:
        self._begun, self._busy, self._own = time.monotonic(), _busy_s(), _own_s()

    def used_by_others(self) -> float:
        """Cores, on average; exact once every process of the benchmark has ended."""
        used = (_busy_s() - self._busy) - (_own_s() - self._own)
        return max(0.0, used / (time.monotonic() - self._begun))


def _busy_s() -> float:
    user, nice, system, _, _, interrupts, soft, steal = Path("/proc/stat").read_text().split()[1:9]
    return sum(map(int, (user, nice, system, interrupts, soft, steal))) / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    return sum(os.times()[:4])  # its own and those of the children that have ended


def _sync_each(path: Path, size: int, count: int, preallocated: int) -> Spread:
    file = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    times = []
    try:
        if preallocated:
            os.pwrite(file, bytes(preallocated), 0)
            os.fsync(file)
        for number in range(count):
            begun = time.perf_counter()
            os.pwrite(file, b"x" * size, number * size)
            os.fdatasync(file)
            times.append(time.perf_counter() - begun)
    finally:
        os.close(file)
        path.unlink()
    return spread_of(times)


def _cpu_model() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
