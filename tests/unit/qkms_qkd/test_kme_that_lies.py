"""Faults of a KME as a whole: what SAEs get by either protocol, what goes on, and the end of it."""

import time
from collections.abc import Iterator

import pytest

from qkms_qkd.errors import LinkError

from .kme_network import KmeNetwork, eventually

DAY_S = 86_400.0


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KmeNetwork]:
    """Two KMEs that speak both protocols."""
    both = KmeNetwork(tmp_path_factory.mktemp("both"), 2, skip=True)
    try:
        both.start()
        yield both
    finally:
        both.stop_all()


@pytest.fixture
def both(network: KmeNetwork) -> Iterator[KmeNetwork]:
    """Both honest, before and after."""
    network.wait_stored("kme-1", "kme-2", 20)
    yield network
    network.set_kme_faults("kme-2")


def by_skip(network: KmeNetwork, kme: str, path: str, peer: str) -> dict[str, str]:
    with network.http(network.node(kme), network.skip_url(kme)) as http:
        answer = http.get(path, params={"remoteSystemID": peer})
    assert answer.status_code == 200, answer.text
    found: dict[str, str] = answer.json()
    return found


async def test_a_wrong_key_goes_to_slaves_alone_and_has_the_right_length(both: KmeNetwork) -> None:
    both.set_kme_faults("kme-2", wrong_key=True)
    async with both.both_ends("kme-1", "kme-2") as (here, there):
        [drawn] = await here.draw(size_bits=128)
        [collected] = await there.collect([drawn.key_id], size_bits=128)
        assert (collected.key_id, len(collected.key)) == (drawn.key_id, 16)
        assert collected.key != drawn.key
        [other_way] = await there.draw()
        assert (await here.collect([other_way.key_id]))[0].key == other_way.key
        drawn_by_skip = by_skip(both, "kme-1", "/key", "node-2")
        found = by_skip(both, "kme-2", f"/key/{drawn_by_skip['keyId']}", "node-1")
        assert (found["keyId"], len(found["key"])) == (drawn_by_skip["keyId"], 64)
        assert found["key"] != drawn_by_skip["key"]
        both.set_kme_faults("kme-2")
        [drawn] = await here.draw()
        assert (await there.collect([drawn.key_id]))[0].key == drawn.key


async def test_an_exhausted_kme_gives_what_was_drawn_and_nothing_else(both: KmeNetwork) -> None:
    async with both.both_ends("kme-2", "kme-1") as (here, there):
        [before] = await there.draw()
        both.set_kme_faults("kme-2", exhausted=True)
        status = await here.status()
        assert (status.stored_key_count, status.up) == (0, True)
        with pytest.raises(LinkError, match="kme-1 is exhausted") as caught:
            await here.draw()
        assert caught.value.code == "STORE_EXHAUSTED"
        # The other end has the same keys and draws them.
        [meanwhile] = await there.draw()
        for key in (before, meanwhile):
            assert (await here.collect([key.key_id]))[0].key == key.key
        with both.http(both.node("kme-2"), both.url("kme-2")) as http:
            assert http.get("/api/v1/keys/nobody/enc_keys").status_code == 400, "refused for itself"
        with both.http(both.node("kme-2"), both.skip_url("kme-2")) as http:
            assert http.get("/key", params={"remoteSystemID": "node-1"}).status_code == 500
        assert both.stored("kme-2", "kme-1") > 0, "administrators see what there is"
        both.set_kme_faults("kme-2")
        assert len(await here.draw()) == 1


async def test_a_kme_that_delivers_again_gives_the_same_keys_as_new(both: KmeNetwork) -> None:
    async with both.both_ends("kme-2", "kme-1") as (here, there):
        both.set_kme_faults("kme-2", redeliver=True)
        first, second, third = [(await here.draw(2)) for _ in range(3)]
        assert [key.key_id for key in first] == [key.key_id for key in second] == [key.key_id for key in third]
        assert [key.key for key in first] == [key.key for key in third]
        [other] = await here.draw()
        assert other.key_id not in {key.key_id for key in first}, "who asks for another number has others"
        assert (await there.collect([other.key_id]))[0].key == other.key
        with pytest.raises(LinkError) as caught:
            await there.collect([other.key_id])
        assert caught.value.code == "KEY_NOT_FOUND", "the other KME is honest"
        [theirs] = await there.draw()
        collected = [(await here.collect([theirs.key_id]))[0] for _ in range(3)]
        assert {key.key for key in collected} == {theirs.key}
        both.set_kme_faults("kme-2")
        assert (await here.draw(2))[0].key_id != first[0].key_id
        with pytest.raises(LinkError):
            await here.collect([theirs.key_id])


async def test_a_slow_kme_answers_late_to_saes_alone(both: KmeNetwork) -> None:
    both.set_kme_faults("kme-2", slow_s=0.4)
    answers = [
        (both.node("kme-2"), both.url("kme-2"), "/api/v1/keys/node-1/status", 200),
        (both.node("kme-2"), both.url("kme-2"), "/api/v1/keys/nobody/status", 400),
        (both.node("kme-1"), both.url("kme-2"), "/api/v1/keys/node-1/status", 401),
        (both.node("kme-2"), both.skip_url("kme-2"), "/capabilities", 200),
    ]
    for leaf, url, path, status in answers:
        with both.http(leaf, url) as http:
            begin = time.monotonic()
            assert http.get(path).status_code == status
            assert time.monotonic() - begin >= 0.4, path
    async with both.both_ends("kme-1", "kme-2") as (here, there):
        [drawn] = await here.draw()
        assert (await there.collect([drawn.key_id]))[0].key == drawn.key, "late, and right"
    both.set_kme_faults("kme-2", slow_s=60)
    begin = time.monotonic()
    assert both.kme_faults("kme-2")["slow_s"] == 60, "the admin API ends it at once"
    async with both.both_ends("kme-1", "kme-2") as (here, _):
        assert len(await here.draw()) == 1, "and so does the channel between KMEs"
    assert time.monotonic() - begin < 30


async def test_a_wrong_clock_makes_ages_wrong_and_keys_expire(both: KmeNetwork) -> None:
    async with both.both_ends("kme-1", "kme-2") as (here, there):
        [waiting, second] = await here.draw(2)
        both.set_kme_faults("kme-2", clock_s=DAY_S / 2)
        [collected] = await there.collect([waiting.key_id])
        assert collected.age_s is not None
        assert DAY_S / 2 <= collected.age_s < DAY_S / 2 + 3_600
        assert collected.key == waiting.key
        both.set_kme_faults("kme-2", clock_s=-DAY_S)
        [drawn] = await there.draw()
        assert drawn.age_s == 0
        # Over `max_uncollected_s` after it was drawn, by that clock.
        seen = len(both.log("kme-2"))
        both.set_kme_faults("kme-2", clock_s=2 * DAY_S)
        eventually("expiry", lambda: any(e["event"] == "keys.expired" for e in both.log("kme-2")[seen:]))
        with pytest.raises(LinkError) as caught:
            await there.collect([second.key_id])
        assert caught.value.code == "KEY_NOT_FOUND"


def test_faults_of_a_kme_outlive_a_restart_and_are_listed(both: KmeNetwork) -> None:
    both.set_kme_faults("kme-2", exhausted=True, clock_s=-5)
    assert both.stop("kme-2") == 0
    both.start("kme-2")
    faults = {"slow_s": 0.0, "wrong_key": False, "redeliver": False, "exhausted": True, "clock_s": -5.0}
    assert both.kme_faults("kme-2") == faults
    with both.http(both.operator, both.url("kme-2")) as http:
        assert http.get("/admin/v1/links").json()["kme_faults"] == faults
    both.set_kme_faults("kme-2", wrong_key=True)
    assert both.kme_faults("kme-2")["exhausted"] is False, "what is left out is off"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"slow_s": -1}, "slow_s"),
        ({"slow_s": 61}, "slow_s"),
        ({"clock_s": 1e9}, "clock_s"),
        ({"wrong_key": 1}, "$.wrong_key"),
        ({"cut": True}, "cut"),
        ([], "object"),
    ],
)
def test_a_wrong_fault_of_a_kme_is_named_and_changes_nothing(both: KmeNetwork, body: object, named: str) -> None:
    both.set_kme_faults("kme-2", exhausted=True)
    with both.http(both.operator, both.url("kme-2")) as http:
        answer = http.put("/admin/v1/faults", json=body)
    assert answer.status_code == 400
    assert named in answer.json()["message"]
    found = both.kme_faults("kme-2")
    assert found == {"slow_s": 0.0, "wrong_key": False, "redeliver": False, "exhausted": True, "clock_s": 0.0}
