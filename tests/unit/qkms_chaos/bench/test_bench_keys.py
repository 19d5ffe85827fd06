"""The benchmark of many keys, with few: real nodes and real calls; and what its probe must not miss."""

import asyncio
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console
from rich.progress import Progress

from processes import at_work_on
from qkms_chaos.bench import keys
from qkms_chaos.bench.keys import KeysResult, _Phases, bench_keys
from qkms_client import AsyncClient


class _HeldUp:
    """Stands for a client whose only encrypt is answered after the phase has ended."""

    def __init__(self) -> None:
        self.answer = asyncio.Event()

    async def encrypt(self, *_: object) -> None:
        await self.answer.wait()


def test_an_encrypt_that_is_under_way_when_a_phase_ends_is_counted() -> None:
    async def run() -> KeysResult:
        result, prober = KeysResult(1), _HeldUp()
        async with _Phases(cast(AsyncClient, prober), result)("listing"):
            asyncio.get_running_loop().call_later(0.01, prober.answer.set)
        return result

    (phase,) = asyncio.run(run()).phases
    assert phase.encrypts.count == 1
    assert phase.encrypts.max_ms > phase.seconds * 1000


@pytest.mark.cluster
@pytest.mark.soak
def test_measures_every_phase_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "IDLE_S", 0.1)
    monkeypatch.setattr(keys, "PAGE", 10)
    monkeypatch.setattr(keys, "ROTATIONS", 5)
    with Progress(console=Console(quiet=True)) as progress:
        result = bench_keys(tmp_path / "cluster", 25, progress)
    counts = [phase.calls.count if phase.calls else 0 for phase in result.phases]
    assert counts == [0, 0, 2, 1, 5, 5, 0]
    assert all(phase.encrypts.count > 0 for phase in result.phases)
    assert min(result.mutations_per_s, result.rewrapped_per_s, result.start_s) > 0
    assert at_work_on(tmp_path) == []
