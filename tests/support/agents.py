"""Real `qkms-agent` processes beside a tunnel's ends, as services of a world."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from qkms_chaos.cluster.world import World

PERIOD_S = "6"


@contextmanager
def agent(
    world: World, names: tuple[str, str], log: Path, command: Sequence[str], options: Sequence[str]
) -> Iterator[None]:
    """`qkms-agent` with this command, as the service named first, its peer's agent being the second's; it must end
    well when told to. What it says is in `log`."""
    own, peer = names
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "qkms_client.agent", *command),
                *("--profile", str(world.cluster.layout.service_profile(own)), "--period", PERIOD_S),
                *("--peer-agent", f"spiffe://qkms.dev/service/{peer}", *options),
            ],
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(20) == 0, log.read_text()
