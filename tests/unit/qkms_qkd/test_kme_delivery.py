"""Keys through two real KMEs: equal at both ends, once to each party, all sizes, both directions at once."""

import asyncio

import pytest

from qkms_qkd.errors import LinkError
from qkms_qkd.etsi014.client import Etsi014Link
from qkms_qkd.link import QkdKey

from .kme_network import KmeNetwork

MAX_STORED = 200


async def test_a_drawn_key_is_collected_equal_at_the_other_end(quiet_pair: KmeNetwork) -> None:
    async with quiet_pair.both_ends("kme-1", "kme-2") as (master, slave):
        drawn = await master.draw(3)
        asked = [key.key_id for key in reversed(drawn)]
        collected = await slave.collect(asked)
    assert [key.key_id for key in collected] == asked
    assert [key.key for key in collected] == [key.key for key in reversed(drawn)]
    assert len({key.key for key in drawn}) == 3
    assert all(len(key.key) == 32 and key.age_s is not None for key in drawn)


async def test_the_end_that_does_not_run_the_link_draws_as_well(quiet_pair: KmeNetwork) -> None:
    async with quiet_pair.both_ends("kme-2", "kme-1") as (master, slave):
        [drawn] = await master.draw()
        [collected] = await slave.collect([drawn.key_id])
    assert collected.key == drawn.key


async def test_a_key_is_delivered_once_to_each_party(quiet_pair: KmeNetwork) -> None:
    async with quiet_pair.both_ends("kme-1", "kme-2") as (master, slave):
        [drawn] = await master.draw()
        await slave.collect([drawn.key_id])
        for party in (slave, master):
            with pytest.raises(LinkError) as caught:
                await party.collect([drawn.key_id])
            assert caught.value.code == "KEY_NOT_FOUND"
            assert party.kme_id in str(caught.value)


async def test_one_unknown_key_and_nothing_is_consumed(quiet_pair: KmeNetwork) -> None:
    unknown = "00000000-0000-4000-8000-000000000000"
    async with quiet_pair.both_ends("kme-1", "kme-2") as (master, slave):
        [drawn] = await master.draw()
        with pytest.raises(LinkError) as caught:
            await slave.collect([drawn.key_id, unknown])
        assert caught.value.code == "KEY_NOT_FOUND"
        [collected] = await slave.collect([drawn.key_id])
    assert collected.key == drawn.key


@pytest.mark.parametrize("size_bits", [64, 128, 256, 264, 512, 1000, 1024])
async def test_every_size_the_status_names_is_served(quiet_pair: KmeNetwork, size_bits: int) -> None:
    quiet_pair.wait_stored("kme-1", "kme-2", 8)
    async with quiet_pair.both_ends("kme-1", "kme-2") as (master, slave):
        drawn = await master.draw(2, size_bits)
        collected = await slave.collect([key.key_id for key in drawn], size_bits)
    assert {len(key.key) * 8 for key in drawn} == {size_bits}
    assert [key.key for key in collected] == [key.key for key in drawn]


async def test_status_tells_the_figures_of_the_link(quiet_pair: KmeNetwork) -> None:
    async with quiet_pair.both_ends("kme-1", "kme-2") as ends:
        for link, kmes in zip(ends, (("kme-1", "kme-2"), ("kme-2", "kme-1")), strict=True):
            status = await link.status()
            assert (status.source_kme, status.target_kme) == kmes
            assert (status.key_size, status.max_key_count, status.max_key_per_request) == (256, 200, 128)
            assert status.stored_key_count is not None
            assert 0 < status.stored_key_count <= 200
            assert status.up is True
            assert status.qber == pytest.approx(0.0331, abs=1e-4)
            assert status.skr_bps == pytest.approx(71_132, rel=1e-3)


async def test_both_ends_drawing_at_once_never_get_the_same_key(pair: KmeNetwork) -> None:
    async with pair.both_ends("kme-1", "kme-2") as (first, second):

        async def exchange(master: Etsi014Link, slave: Etsi014Link) -> list[QkdKey]:
            got: list[QkdKey] = []
            while len(got) < 60:
                try:
                    drawn = await master.draw(3)
                except LinkError as error:
                    if error.code != "STORE_EXHAUSTED":
                        raise
                    await asyncio.sleep(0.05)
                    continue
                collected = await slave.collect([key.key_id for key in drawn])
                assert [key.key for key in collected] == [key.key for key in drawn]
                got += drawn
            return got

        runs = await asyncio.gather(*(exchange(a, b) for a, b in [(first, second), (second, first)] * 3))
    keys = [key for run in runs for key in run]
    assert len({key.key_id for key in keys}) == len({key.key for key in keys}) == len(keys) == 360


async def draw_all(master: Etsi014Link) -> None:
    for _ in range(2 * MAX_STORED):
        await master.draw()


async def test_an_exhausted_store_says_so_and_refills(pair: KmeNetwork) -> None:
    pair.wait_stored("kme-1", "kme-2", 1)
    pair.set_faults("kme-1", "kme-2", cut=True)
    async with pair.both_ends("kme-1", "kme-2") as (master, _):
        # A block that was being made when the link was cut may still come in.
        with pytest.raises(LinkError) as caught:
            await draw_all(master)
        assert caught.value.code == "STORE_EXHAUSTED"
        assert "kme-2" in caught.value.message
        pair.set_faults("kme-1", "kme-2")
        pair.wait_stored("kme-1", "kme-2", 1)
        await master.draw()
