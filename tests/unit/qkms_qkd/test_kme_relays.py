"""Keys between sites that no link joins: four real KMEs in a ring, 1 - 2 - 3 and 1 - 4 - 3."""

import asyncio
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from qkms_qkd.errors import LinkError
from qkms_qkd.etsi014.client import Etsi014Link
from qkms_qkd.link import QkdKey

from .kme_network import KmeNetwork, eventually

RING = [("kme-1", "kme-2"), ("kme-2", "kme-3"), ("kme-1", "kme-4"), ("kme-3", "kme-4")]


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KmeNetwork]:
    """For tests that leave it as it was: all sites running, no fault, keys of every link."""
    network = KmeNetwork(tmp_path_factory.mktemp("ring"), 4, joined=RING, relaying="", skip=True)
    try:
        network.start()
        whole(network)
        yield network
    finally:
        network.stop_all()


def whole(network: KmeNetwork) -> None:
    for one, other in RING:
        network.set_faults(one, other)
        network.wait_stored(one, other, 20)


def ask(network: KmeNetwork, kme: str, method: str, **body: Any) -> tuple[int, dict[str, Any]]:
    """What the SAE of a KME is answered by ETSI GS QKD 014."""
    with network.http(network.node(kme), network.url(kme)) as http:
        answer = http.post(f"/api/v1/keys/{method}", json=body)
        return answer.status_code, answer.json() if answer.content else {}


def collected(network: KmeNetwork, kme: str, keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What node-1 drew, at a slave."""
    ids = [{"key_ID": key["key_ID"]} for key in keys]
    status, answer = ask(network, kme, "node-1/dec_keys", key_IDs=ids)
    assert status == 200, answer
    return list(answer["keys"])


async def test_a_relayed_key_is_equal_at_both_ends_and_names_its_relay_once_to_each(ring: KmeNetwork) -> None:
    async with ring.both_ends("kme-1", "kme-3") as (master, slave):
        drawn = await master.draw(3, 1000)
        asked = [key.key_id for key in drawn]
        got = await slave.collect(asked, 1000)
        with pytest.raises(LinkError) as caught:
            await slave.collect(asked[:1], 1000)
    assert caught.value.code == "KEY_NOT_FOUND"
    assert [key.key for key in got] == [key.key for key in drawn]
    assert len({key.key for key in drawn}) == 3
    for key in drawn + got:
        assert len(key.relays) == 1
        assert set(key.relays) <= {"kme-2", "kme-4"}
        assert key.age_s is not None
        assert 0 <= key.age_s < 120


async def test_a_key_of_a_link_is_relayed_by_nobody(ring: KmeNetwork) -> None:
    async with ring.both_ends("kme-1", "kme-2") as (master, slave):
        [drawn] = await master.draw()
        [got] = await slave.collect([drawn.key_id])
    assert (drawn.relays, got.relays) == ((), ())


def test_a_key_over_disjoint_routes_names_both_relays(ring: KmeNetwork) -> None:
    status, drawn = ask(ring, "kme-1", "node-3/enc_keys", number=2, extension_mandatory=[{"disjoint_routes": 2}])
    assert status == 200, drawn
    got = collected(ring, "kme-3", drawn["keys"])
    assert [key["key"] for key in got] == [key["key"] for key in drawn["keys"]]
    for key in drawn["keys"] + got:
        assert key["key_extension"]["relays"] == ["kme-2", "kme-4"]
        assert key["key_extension"]["disjoint_routes"] == 2


def test_what_cannot_be_had_is_refused_and_costs_no_key(ring: KmeNetwork) -> None:
    for mandatory, status in (
        ({"route_type": "direct"}, 400),
        ({"disjoint_routes": 0}, 400),
        ({"disjoint_routes": "2"}, 400),
        ({"route_type": "scenic"}, 400),
        ({"disjoint_routes": 3}, 503),
    ):
        answered, refusal = ask(ring, "kme-1", "node-3/enc_keys", extension_mandatory=[mandatory])
        assert answered == status, refusal
    assert "2 of 3 disjoint routes" in refusal["message"]
    assert refusal["details"] == [{"code": "LINK_DOWN"}]
    status, _ = ask(ring, "kme-1", "node-2/enc_keys", extension_mandatory=[{"disjoint_routes": "2"}])
    assert status == 400


def test_two_saes_of_one_site_need_no_link(ring: KmeNetwork) -> None:
    status, drawn = ask(ring, "kme-4", "bystander/enc_keys", number=2)
    assert status == 200
    bystander = ring.authority.issue("node", "bystander")
    with ring.http(bystander, ring.url("kme-4")) as http:
        ids = [{"key_ID": key["key_ID"]} for key in drawn["keys"]]
        got = http.post("/api/v1/keys/node-4/dec_keys", json={"key_IDs": ids}).json()
        assert http.get("/api/v1/keys/node-4/status").json()["target_KME_ID"] == "kme-4"
    assert [key["key"] for key in got["keys"]] == [key["key"] for key in drawn["keys"]]
    assert "relays" not in got["keys"][0]["key_extension"]


def test_several_slaves_get_one_key_each_once(ring: KmeNetwork) -> None:
    others = ["node-3", "node-4"]
    status, drawn = ask(ring, "kme-1", "node-2/enc_keys", number=2, additional_slave_SAE_IDs=others)
    assert status == 200, drawn
    for kme in ("kme-2", "kme-3", "kme-4"):
        got = collected(ring, kme, drawn["keys"])
        assert [key["key"] for key in got] == [key["key"] for key in drawn["keys"]]
        status, _ = ask(ring, kme, "node-1/dec_keys", key_IDs=[{"key_ID": drawn["keys"][0]["key_ID"]}])
        assert status == 400
    status, refusal = ask(ring, "kme-1", "node-2/enc_keys", additional_slave_SAE_IDs=["node-2"])
    assert (status, refusal["message"]) == (400, "a slave SAE shall be named once")
    with ring.http(ring.node("kme-1"), ring.url("kme-1")) as http:
        assert http.get("/api/v1/keys/node-2/status").json()["max_SAE_ID_count"] == 8


async def test_the_status_of_a_relayed_pair_is_that_of_its_weakest_link(ring: KmeNetwork) -> None:
    async with ring.both_ends("kme-1", "kme-3") as (master, _):
        status = await master.status()
    assert (status.source_kme, status.target_kme) == ("kme-1", "kme-3")
    assert status.stored_key_count is not None
    assert 0 < status.stored_key_count <= 200
    assert status.up is True
    assert status.qber == pytest.approx(0.0331, abs=1e-4)


def test_who_speaks_skip_gets_no_key_that_somebody_relayed(ring: KmeNetwork) -> None:
    with ring.http(ring.node("kme-1"), ring.skip_url("kme-1")) as http:
        assert http.get("/key?remoteSystemID=node-2").status_code == 200
        assert http.get("/key?remoteSystemID=node-3").status_code == 400
        assert "node-3" not in http.get("/capabilities").json()["remoteSystemID"]


CARRY: dict[str, Any] = {
    "route": ["kme-1", "kme-2", "kme-3"],
    "master": "node-1",
    "slave": "node-3",
    "size_bits": 256,
    "share": 0,
    "shares": 1,
    "age_s": 0.0,
    "within_s": 3.0,
    "parts": [{"delivery_id": "a", "pads": ["p"], "sealed": "A" * 43 + "="}],
}


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"route": ["kme-4", "kme-2", "kme-3"]}, 400),
        ({"route": ["kme-1", "kme-2", "kme-1"]}, 400),
        ({"route": ["kme-1", "kme-2", "kme-4"]}, 400),
        ({"route": ["kme-1", "kme-3"]}, 400),
        ({"route": []}, 400),
        ({"route": ["kme-1", "kme-2"]}, 403),
        ({"route": ["kme-1", "kme-2"], "slave": "node-2", "master": "node-4"}, 403),
        ({"size_bits": 255}, 400),
        ({"size_bits": 1 << 40}, 400),
        ({"share": 1}, 400),
        ({"parts": []}, 400),
        ({"parts": [CARRY["parts"][0] | {"pads": []}]}, 400),
        ({"parts": [CARRY["parts"][0] | {"sealed": "AAAA"}]}, 400),
        ({"parts": [CARRY["parts"][0], CARRY["parts"][0] | {"delivery_id": "b"}]}, 400),
        ({"parts": [CARRY["parts"][0] | {"pads": 7}]}, 400),
    ],
)
def test_a_site_takes_nothing_that_does_not_fit(ring: KmeNetwork, wrong: dict[str, Any], status: int) -> None:
    peer = ring.authority.issue("kme", "kme-1")
    with ring.http(peer, ring.link_url("kme-2")) as http:
        assert http.post("/link/v1/carry", json=CARRY | wrong).status_code == status
        fits = http.post("/link/v1/carry", json=CARRY)
    assert fits.json()["pads_refused"] is True
    with ring.http(ring.node("kme-1"), ring.link_url("kme-2")) as stranger:
        assert stranger.post("/link/v1/carry", json=CARRY).status_code == 403


async def drawn_until(network: KmeNetwork, relay: str) -> QkdKey:
    """Draws from node-1 to node-3 until a key went over this relay; every key is equal at both ends."""
    async with network.both_ends("kme-1", "kme-3") as (master, slave):
        for _ in range(400):
            [drawn] = await master.draw()
            [got] = await slave.collect([drawn.key_id])
            assert (got.key, got.relays) == (drawn.key, drawn.relays)
            if drawn.relays == (relay,):
                return drawn
    raise AssertionError(f"nothing went over {relay}")


async def test_keys_go_round_a_cut_link_and_a_dead_site(ring: KmeNetwork) -> None:
    ring.set_faults("kme-1", "kme-2", cut=True)
    await drawn_until(ring, "kme-4")
    ring.set_faults("kme-1", "kme-2")
    ring.wait_stored("kme-1", "kme-2", 20)
    ring.stop("kme-4", signal.SIGKILL)
    await drawn_until(ring, "kme-2")
    ring.stop("kme-2", signal.SIGKILL)
    async with ring.both_ends("kme-1", "kme-3") as (master, _):
        with pytest.raises(LinkError) as caught:
            await master.draw()
        assert caught.value.code == "LINK_DOWN"
        ring.start("kme-2", "kme-4")
        whole(ring)
        await usable(master)


async def test_a_link_without_keys_gives_way_to_relays_and_takes_over_again(ring: KmeNetwork) -> None:
    ring.set_faults("kme-1", "kme-2", cut=True)
    async with ring.both_ends("kme-1", "kme-2") as (master, slave):
        drawn = [(await master.draw())[0] for _ in range(220)]
        got = await slave.collect([key.key_id for key in drawn[-60:]])
        assert [key.key for key in got] == [key.key for key in drawn[-60:]]
        assert drawn[0].relays == ()
        assert drawn[-1].relays == ("kme-3", "kme-4")
        status = await master.status()
        assert status.up is True
        ring.set_faults("kme-1", "kme-2")
        ring.wait_stored("kme-1", "kme-2", 1)
        [drawn_again] = await master.draw()
    assert drawn_again.relays == ()
    whole(ring)


async def test_no_key_differs_while_relays_are_killed_and_links_are_drawn_from_both_ends(
    ring: KmeNetwork,
) -> None:
    pairs = [("kme-1", "kme-3"), ("kme-3", "kme-1"), ("kme-2", "kme-4"), ("kme-1", "kme-2")]
    served: dict[tuple[str, str], int] = dict.fromkeys(pairs, 0)
    stopping = asyncio.Event()

    async def exchange(pair: tuple[str, str]) -> None:
        async with ring.both_ends(*pair) as (master, slave):
            while not stopping.is_set():
                try:
                    drawn = await master.draw(2)
                    got = await slave.collect([key.key_id for key in drawn])
                except LinkError:
                    await asyncio.sleep(0.05)
                    continue
                assert [key.key for key in got] == [key.key for key in drawn]
                served[pair] += len(got)

    running = [asyncio.create_task(exchange(pair)) for pair in pairs]
    for victim in ("kme-4", "kme-2"):
        await asyncio.sleep(0.5)
        ring.stop(victim, signal.SIGKILL)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(ring.start, victim)
    before = dict(served)
    await asyncio.to_thread(
        eventually, "every pair is served again", lambda: all(served[p] > before[p] for p in pairs)
    )
    stopping.set()
    await asyncio.gather(*running)


async def usable(master: Etsi014Link) -> None:
    """Waits until a key can be drawn."""
    for _ in range(200):
        try:
            await master.draw()
        except LinkError:
            await asyncio.sleep(0.1)
        else:
            return
    raise AssertionError("no key could be drawn again")
