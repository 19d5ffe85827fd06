"""A KME's link whose keys are distilled from simulated pulses, by hand and in real processes."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from bb84_runs import GOOD_LINK
from qkms_qkd.kme import pulse_production
from qkms_qkd.kme.faults import Faults
from qkms_qkd.kme.pulse_production import PulseProduction

from .kme_network import METROPOLITAN, KmeNetwork, eventually

RATE = 300_000.0
"""Pulses per second: a block of a second gives a key."""


def link(rate: float = RATE) -> PulseProduction:
    return PulseProduction(0.0, rate, 0.11, 0.0, 0.0005, GOOD_LINK.link)


async def block(production: PulseProduction, until_s: float, room: int = 1000) -> list[bytes]:
    """Ends a block at this time, waits until it is distilled, and takes its keys."""
    assert await production.distil(256, room, until_s) == []
    await idle(production)
    return await production.distil(256, room, until_s)


async def idle(production: PulseProduction) -> None:
    for _ in range(1000):
        if production.idle:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not distilled within ten seconds")


async def test_blocks_become_keys() -> None:
    production = link()
    keys = await block(production, 1.0) + await block(production, 2.0)
    assert len(keys) == len(set(keys)) > 5
    assert {len(key) for key in keys} == {32}
    assert production.discarded_blocks == 0
    assert production.quality.qber == pytest.approx(0.003, abs=0.002)
    assert production.quality.skr_bps > 256
    assert production.quality.secure


async def test_an_eavesdropper_costs_her_blocks_and_no_other() -> None:
    production = link()
    production.set_faults(Faults(intercept_resend=1.0), 0.0)
    assert await block(production, 1.0) == []
    assert production.discarded_blocks == 1
    assert "QBER_TOO_HIGH" in production.discard_reason
    assert production.quality.qber == pytest.approx(0.25, abs=0.02)
    assert (production.quality.skr_bps, production.quality.secure) == (0.0, False)
    production.set_faults(Faults(), 1.0)
    assert len(await block(production, 2.0)) > 2


async def test_faults_act_on_the_pulses_of_their_time() -> None:
    production = link()
    production.set_faults(Faults(extra_misalignment=0.1), 0.5)
    await block(production, 1.0)
    assert production.quality.qber == pytest.approx(0.053, abs=0.006)


async def test_what_is_sent_into_a_cut_fibre_is_in_no_block() -> None:
    production = link()
    production.set_faults(Faults(cut=True), 0.0)
    assert production.quality.qber is None
    assert await production.distil(256, 10, 50.0) == []
    assert production.idle
    production.set_faults(Faults(), 50.0)
    assert len(await block(production, 51.0)) > 2
    assert production.quality.qber == pytest.approx(0.003, abs=0.002)


async def test_too_short_a_block_says_what_is_missing() -> None:
    production = link()
    assert await block(production, 0.001) == []
    assert "NO_SECRET_BITS" in production.discard_reason


async def test_a_block_has_its_length_at_least() -> None:
    production = link()
    working = []
    for now_s in (0.0004, 0.0006):
        await production.distil(256, 10, now_s)
        working.append(not production.idle)
    assert working == [False, True]
    await idle(production)


async def test_a_restart_forgets_what_is_at_work_too() -> None:
    production = link()
    await production.distil(256, 10, 1.0)
    production.restart(1.5)
    await idle(production)
    assert await production.distil(256, 10, 1.5) == []
    assert len(await block(production, 2.5)) > 2


async def test_without_room_keys_are_lost() -> None:
    production = link()
    assert len(await block(production, 1.0, room=1)) == 1


async def test_a_block_is_no_larger_than_its_computer_can_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse_production, "MAX_CLICKS", 1000)
    production = link(rate=1e12)
    started = time.monotonic()
    assert await block(production, 100.0) == []
    assert time.monotonic() - started < 5
    assert "NO_SECRET_BITS" in production.discard_reason


async def test_without_authentication_keys_there_are_no_more_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse_production, "PRESHARED_BLOCKS", 2)
    production = link()
    # The first two blocks are too short to give a key, or show too many errors by chance.
    for end, is_spent in ((0.001, False), (0.002, False), (1.0, True), (2.0, True)):
        assert await block(production, end) == []
        assert ("pre-shared" in production.discard_reason) is is_spent
    assert production.discarded_blocks == 4


async def test_keys_do_not_follow_from_the_generator_of_the_physics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two links with the same state of numpy's generator: clicks at the same pulses, other keys."""
    seeded = np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda: seeded(7))
    one, other = link(), link()
    first, second = await block(one, 1.0), await block(other, 1.0)
    assert one.quality.qber == pytest.approx(other.quality.qber, abs=0.001)
    assert first
    assert not set(first) & set(second)


def test_two_kmes_report_what_the_pulses_show(tmp_path: Path) -> None:
    """Blocks of fifty milliseconds: too few clicks for a key, enough to tell an eavesdropper."""
    with pulses_between(tmp_path, METROPOLITAN) as network:
        eventually("a block is measured", lambda: qber(network) is not None)
        assert qber(network) == pytest.approx(0.033, abs=0.03)
        assert "NO_SECRET_BITS" in last_reason(network)
        network.set_faults("kme-1", "kme-2", intercept_resend=1.0)
        eventually("Eve is measured", lambda: (qber(network) or 0) == pytest.approx(0.265, abs=0.06))
        eventually("the block is discarded for it", lambda: "QBER_TOO_HIGH" in last_reason(network))
        assert network.stored("kme-1", "kme-2") == 0


@pytest.mark.soak
def test_two_kmes_share_keys_of_simulated_pulses(tmp_path: Path) -> None:
    """Blocks of two seconds, each more than a second's computing on a core that does nothing else."""
    with pulses_between(tmp_path, "length_km = 0\npulse_rate_hz = 5.0e7\nblock_s = 2.0\n") as network:
        for here, there in (("kme-1", "kme-2"), ("kme-2", "kme-1")):
            eventually(
                f"five keys at {here}",
                lambda here=here, there=there: network.stored(here, there) >= 5,  # type: ignore[misc]
                deadline_s=120,
            )
        assert qber(network) == pytest.approx(0.033, abs=0.003)


@contextmanager
def pulses_between(folder: Path, optics: str) -> Iterator[KmeNetwork]:
    network = KmeNetwork(folder, 2, optics=optics, link='model = "pulses"\n')
    try:
        network.start()
        yield network
    finally:
        network.stop_all()


def qber(network: KmeNetwork) -> float | None:
    """As the end sees it that does not run the model."""
    found: float | None = network.admin_links("kme-2")["kme-1"]["qber"]
    return found


def last_reason(network: KmeNetwork) -> str:
    reasons = [line["reason"] for line in network.log("kme-1") if line["event"] == "link.block_discarded"]
    return str(reasons[-1])
