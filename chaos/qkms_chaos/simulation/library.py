"""Puts simulated time and disks in the place of the real ones, in the modules that use them, and back again."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from pysyncobj import syncobj

from qkms_chaos.simulation.world import World
from qkms_node.consensus import files, segments, snapshot_file, snapshot_sending, snapshot_store

_ON_DISK = (files, segments, snapshot_file, snapshot_sending, snapshot_store)


@contextmanager
def simulated(world: World) -> Iterator[None]:
    """Inside, the engine lives in `world`. One world at a time per process."""
    replaced: list[tuple[ModuleType, str, Any]] = [(module, "os", world.calls) for module in _ON_DISK]
    replaced.append((syncobj, "monotonicTime", world.local_time))
    replaced.append((syncobj, "random", random.Random(f"{world.seed} library")))  # noqa: S311
    before = [(module, name, vars(module)[name]) for module, name, _ in replaced]
    for module, name, substitute in replaced:
        setattr(module, name, substitute)
    try:
        yield
    finally:
        for module, name, original in before:
            setattr(module, name, original)
