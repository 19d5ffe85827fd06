"""Quotas and equal parts of a link's keys: the rule alone, and two pairs at two real KMEs."""

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from qkms_qkd.kme.quotas import QuotaSection
from qkms_qkd.kme.sharing import ASKS_S, WINDOW_S, OverShareError, Sharing

from .kme_network import KmeNetwork, eventually

A, B, C = (frozenset((name, "sae")) for name in "abc")


def drawn(sharing: Sharing, pair: frozenset[str], need: int, free: int, now_s: float = 0.0) -> bool:
    try:
        sharing.draw("kme-2", pair, need, free, now_s)
    except OverShareError:
        return False
    return True


def test_a_pair_that_is_alone_may_have_everything() -> None:
    sharing = Sharing([])
    assert all(drawn(sharing, A, 10, 100 - 10 * i) for i in range(10))


def test_who_comes_late_gets_what_comes_in_until_both_have_had_the_same() -> None:
    sharing = Sharing([])
    assert drawn(sharing, A, 90, 100)
    assert drawn(sharing, B, 10, 10)
    assert not drawn(sharing, A, 1, 20)
    assert drawn(sharing, B, 20, 20)
    assert drawn(sharing, B, 1, 1)
    assert drawn(sharing, A, 1, 100)


def test_what_was_had_a_minute_ago_does_not_count() -> None:
    sharing = Sharing([])
    assert drawn(sharing, A, 90, 100)
    for now_s, gets in ((0.0, False), (WINDOW_S - 1, False), (WINDOW_S + 1, True)):
        assert drawn(sharing, B, 1, 10, now_s)
        assert drawn(sharing, A, 5, 9, now_s) is gets


def test_a_pair_that_does_not_ask_any_more_takes_no_part() -> None:
    sharing = Sharing([])
    assert drawn(sharing, A, 90, 100)
    assert drawn(sharing, B, 1, 10)
    assert not drawn(sharing, A, 9, 9, ASKS_S - 1)
    assert drawn(sharing, A, 9, 9, ASKS_S)


def test_what_is_drawn_at_the_other_end_counts() -> None:
    sharing = Sharing([])
    sharing.count("kme-2", A, 90, 0.0)
    assert drawn(sharing, B, 1, 10)
    assert not drawn(sharing, A, 1, 9)
    sharing.draw("kme-3", A, 1, 1, 0.0)


def test_a_quota_is_of_one_pair_and_a_minute() -> None:
    sharing = Sharing([QuotaSection(saes=("sae", "a"), keys_per_minute=3)])
    assert drawn(sharing, A, 3, 100)
    assert not drawn(sharing, A, 1, 100)
    assert drawn(sharing, B, 50, 100)
    assert drawn(sharing, A, 1, 100, WINDOW_S)


wishes = st.lists(st.tuples(st.sampled_from([A, B, C]), st.integers(1, 30)), max_size=60)


@given(wishes, st.integers(0, 200))
def test_no_pair_that_asks_is_ever_left_less_than_its_part(asked: list[tuple[Any, int]], supply: int) -> None:
    """Of a supply that does not grow: while there are keys, whoever asks for one and has had less than an equal
    part of it is given it."""
    sharing = Sharing([])
    had = dict.fromkeys((A, B, C), 0)
    for pair in had:
        drawn(sharing, pair, 0, supply)
    for pair, need in asked:
        free = supply - sum(had.values())
        if need <= free and drawn(sharing, pair, need, free):
            had[pair] += need
    for pair in had:
        free = supply - sum(had.values())
        assert had[pair] <= supply / 3
        if free and had[pair] + 1 <= supply / 3:
            assert drawn(sharing, pair, 1, free)
            had[pair] += 1


def test_a_pair_over_its_quota_is_refused_at_either_end(tmp_path: Path) -> None:
    quota = '[[quotas]]\nsaes = ["node-1", "node-2"]\nkeys_per_minute = 4\n'
    network = KmeNetwork(tmp_path, 2, keys=quota)
    try:
        network.start()
        network.wait_stored("kme-1", "kme-2", 20)
        with (
            network.http(network.node("kme-1"), network.url("kme-1")) as first,
            network.http(network.node("kme-2"), network.url("kme-2")) as second,
        ):
            assert first.get("/api/v1/keys/node-2/enc_keys?number=3").status_code == 200
            assert second.get("/api/v1/keys/node-1/enc_keys").status_code == 200
            for http, slave in ((first, "node-2"), (second, "node-1")):
                refused = http.get(f"/api/v1/keys/{slave}/enc_keys")
                assert refused.status_code == 503
                assert "4 keys a minute" in refused.json()["message"]
                assert refused.json()["details"] == [{"code": "STORE_EXHAUSTED"}]
            assert first.get("/api/v1/keys/bystander/enc_keys?number=10").status_code == 200
    finally:
        network.stop_all()


def test_a_greedy_pair_leaves_the_other_its_part(tmp_path: Path) -> None:
    network = KmeNetwork(tmp_path, 2)
    try:
        network.start()
        network.wait_stored("kme-1", "kme-2", 60)
        network.set_faults("kme-1", "kme-2", cut=True)
        eventually(
            "nothing more comes in", lambda: network.stored("kme-1", "kme-2") == network.stored("kme-2", "kme-1")
        )
        with network.http(network.node("kme-1"), network.url("kme-1")) as http:
            there = network.stored("kme-1", "kme-2")
            assert http.get("/api/v1/keys/bystander/enc_keys").status_code == 200
            greedy = 0
            while http.get("/api/v1/keys/node-2/enc_keys").status_code == 200:
                greedy += 1
            assert greedy == there // 2
            modest = 1
            while http.get("/api/v1/keys/bystander/enc_keys").status_code == 200:
                modest += 1
            assert modest == there // 2
    finally:
        network.stop_all()
