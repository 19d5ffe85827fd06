"""Stops, kills and lost disks at either end: keys survive, both ends agree again, none comes twice."""

import shutil
import signal
import time

import pytest

from qkms_qkd.errors import LinkError

from .kme_network import KmeNetwork, eventually


@pytest.mark.parametrize(
    ("ends", "number"),
    [
        (("kme-1", "kme-2"), signal.SIGTERM),
        (("kme-1",), signal.SIGKILL),
        (("kme-2",), signal.SIGKILL),
        (("kme-1", "kme-2"), signal.SIGKILL),
    ],
)
async def test_keys_survive_a_restart(pair: KmeNetwork, ends: tuple[str, ...], number: int) -> None:
    pair.wait_stored("kme-1", "kme-2", 200)
    pair.set_faults("kme-1", "kme-2", cut=True)
    async with pair.both_ends("kme-1", "kme-2") as (master, slave):
        drawn = await master.draw(3)
        for end in ends:
            pair.stop(end, number)
        pair.start(*ends)
        collected = await slave.collect([key.key_id for key in drawn])
        assert [key.key for key in collected] == [key.key for key in drawn]
        for link in (master, slave):
            with pytest.raises(LinkError) as caught:
                await link.collect([drawn[0].key_id])
            assert caught.value.code == "KEY_NOT_FOUND"
        # Cut all the while: what is drawn now was stored before.
        assert pair.stored("kme-1", "kme-2") == 197
        [again] = await master.draw()
        assert (await slave.collect([again.key_id]))[0].key == again.key


@pytest.mark.parametrize("loser", ["kme-1", "kme-2"])
async def test_an_end_that_lost_its_disk_and_its_peer_agree_again(pair: KmeNetwork, loser: str) -> None:
    pair.wait_stored("kme-1", "kme-2", 200)
    pair.stop(loser)
    shutil.rmtree(pair.data_dir(loser))
    pair.start(loser)
    # Eight full answers: more keys than one store held, so some are new.
    async with pair.both_ends("kme-1", "kme-2") as (master, slave):
        for _ in range(8):
            pair.wait_stored("kme-1", "kme-2", 50)
            drawn = await master.draw(50)
            collected = await slave.collect([key.key_id for key in drawn])
            assert [key.key for key in collected] == [key.key for key in drawn]


async def test_no_key_is_handed_out_that_the_peer_cannot_hold(pair: KmeNetwork) -> None:
    pair.wait_stored("kme-1", "kme-2", 200)
    pair.set_faults("kme-1", "kme-2", cut=True)
    pair.stop("kme-2", signal.SIGKILL)
    async with pair.both_ends("kme-1", "kme-2") as (master, slave):
        with pytest.raises(LinkError) as caught:
            await master.draw(5)
        assert caught.value.code == "LINK_DOWN"
        assert "kme-2" in caught.value.message
        assert (await master.status()).stored_key_count == 200
        pair.start("kme-2")
        drawn = await master.draw(5)
        collected = await slave.collect([key.key_id for key in drawn])
        assert [key.key for key in collected] == [key.key for key in drawn]


async def test_a_peer_that_hangs_costs_the_drawn_keys_and_no_more(pair: KmeNetwork) -> None:
    pair.wait_stored("kme-1", "kme-2", 200)
    pair.set_faults("kme-1", "kme-2", cut=True)
    pair.signal("kme-2", signal.SIGSTOP)
    async with pair.both_ends("kme-1", "kme-2") as (master, _):
        with pytest.raises(LinkError) as caught:
            await master.draw(5)
        assert caught.value.code == "LINK_DOWN"
        pair.signal("kme-2", signal.SIGCONT)
        # The peer may have assigned them when it woke: both ends forget the five.
        for end in (("kme-1", "kme-2"), ("kme-2", "kme-1")):
            eventually(f"{end[0]} forgets", lambda end=end: pair.stored(*end) == 195)  # type: ignore[misc]
        await master.draw(5)


def test_a_link_whose_peer_is_away_is_down_and_comes_back(pair: KmeNetwork) -> None:
    pair.wait_stored("kme-1", "kme-2", 1)
    pair.stop("kme-1")
    eventually("kme-2 sees it", lambda: pair.admin_links("kme-2")["kme-1"]["link_state"] == "down")
    pair.start("kme-1")
    eventually("kme-2 sees it", lambda: pair.admin_links("kme-2")["kme-1"]["link_state"] == "up")
    pair.stop("kme-2")
    eventually("kme-1 sees it", lambda: pair.admin_links("kme-1")["kme-2"]["link_state"] == "down")


def test_sigterm_stops_promptly_with_status_0(pair: KmeNetwork) -> None:
    with pair.http(pair.node("kme-1"), pair.url("kme-1")) as http:
        assert http.get("/api/v1/keys/node-2/status").status_code == 200
        # The connection stays open: it must not hold the process up.
        started = time.monotonic()
        assert pair.stop("kme-1") == 0
        assert time.monotonic() - started < 10
    assert [line["event"] for line in pair.log("kme-1")][-2:] == ["kme.stopping", "kme.stopped"]


async def test_uncollected_keys_expire(tmp_path_factory: pytest.TempPathFactory) -> None:
    network = KmeNetwork(tmp_path_factory.mktemp("expiry"), 2, keys="max_uncollected_s = 0.5\n")
    try:
        network.start()
        network.wait_stored("kme-1", "kme-2", 1)
        async with network.both_ends("kme-1", "kme-2") as (master, slave):
            [drawn] = await master.draw()
            eventually("the key expires", lambda: any(e["event"] == "keys.expired" for e in network.log("kme-2")))
            with pytest.raises(LinkError) as caught:
                await slave.collect([drawn.key_id])
            assert caught.value.code == "KEY_NOT_FOUND"
    finally:
        network.stop_all()
