"""Fault switches on a running link, from either end: what status says and what happens to the keys."""

import pytest

from .kme_network import KmeNetwork, eventually


def stock_is_steady(pair: KmeNetwork, blocks: int = 5) -> bool:
    """Whether no key arrives at either end during so many discarded blocks."""
    before = pair.admin_links("kme-1")["kme-2"]
    ends = [("kme-1", "kme-2"), ("kme-2", "kme-1")]
    stored = [pair.stored(*end) for end in ends]
    eventually(
        "blocks are discarded",
        lambda: pair.admin_links("kme-1")["kme-2"]["discarded_blocks"] >= before["discarded_blocks"] + blocks,
    )
    return stored == [pair.stored(*end) for end in ends]


@pytest.mark.parametrize("end", [("kme-1", "kme-2"), ("kme-2", "kme-1")])
async def test_a_cut_link_is_down_and_makes_no_keys_until_healed(pair: KmeNetwork, end: tuple[str, str]) -> None:
    pair.wait_stored("kme-1", "kme-2", 2)
    changed = pair.set_faults(*end, cut=True)
    assert (changed["link_state"], changed["qber"], changed["skr_bps"]) == ("down", None, 0.0)
    async with pair.both_ends("kme-1", "kme-2") as (master, slave):
        eventually("both ends see the cut", lambda: all_down(pair))
        for link in (master, slave):
            status = await link.status()
            assert (status.up, status.qber, status.skr_bps) == (False, None, 0.0)
        assert stock_is_steady(pair)
        # Keys distilled before the cut are still good.
        [drawn] = await master.draw()
        assert (await slave.collect([drawn.key_id]))[0].key == drawn.key
        pair.set_faults(*end)
        eventually("both ends see the link up", lambda: not all_down(pair))
        pair.wait_stored("kme-1", "kme-2", 200)


def all_down(pair: KmeNetwork) -> bool:
    ends = [pair.admin_links("kme-1")["kme-2"], pair.admin_links("kme-2")["kme-1"]]
    return all(end["link_state"] == "down" for end in ends)


async def test_an_eavesdropper_raises_the_qber_and_stops_the_keys(pair: KmeNetwork) -> None:
    pair.wait_stored("kme-1", "kme-2", 2)
    pair.set_faults("kme-2", "kme-1", intercept_resend=0.4)
    async with pair.both_ends("kme-1", "kme-2") as (master, slave):
        for link, name in ((master, "kme-1"), (slave, "kme-2")):
            eventually(f"{name} measures Eve", lambda name=name: measured(pair, name) > 0.11)  # type: ignore[misc]
            status = await link.status()
            assert status.qber == pytest.approx(0.0331 + 0.1 * (1 - 2 * 0.033), abs=1e-3)
            assert (status.up, status.skr_bps) == (True, 0.0)
        async with pair.both_ends("kme-1", "kme-2") as (drawing, _):
            for _ in range(pair.stored("kme-1", "kme-2")):
                await drawing.draw()
        assert stock_is_steady(pair)
        assert pair.stored("kme-1", "kme-2") == 0
    pair.set_faults("kme-2", "kme-1", intercept_resend=0.0)
    pair.wait_stored("kme-1", "kme-2", 10)
    assert measured(pair, "kme-1") < 0.04


def measured(pair: KmeNetwork, name: str) -> float:
    [link] = pair.admin_links(name).values()
    return float(link["qber"] or 0.0)


def test_a_degraded_link_yields_less_and_says_so(pair: KmeNetwork) -> None:
    pair.wait_stored("kme-1", "kme-2", 1)
    good = pair.admin_links("kme-1")["kme-2"]
    bad = pair.set_faults("kme-1", "kme-2", extra_misalignment=0.02)
    assert bad["qber"] == pytest.approx(good["qber"] + 0.02, abs=1e-4)
    assert 0 < bad["skr_bps"] < good["skr_bps"]


def test_faults_outlive_a_restart(pair: KmeNetwork) -> None:
    pair.set_faults("kme-1", "kme-2", cut=True, intercept_resend=0.1)
    assert pair.stop("kme-1") == 0
    pair.start("kme-1")
    faults = pair.admin_links("kme-1")["kme-2"]["faults"]
    assert faults == {"cut": True, "intercept_resend": 0.1, "extra_misalignment": 0.0}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"intercept_resend": 2}, "intercept_resend"),
        ({"extra_misalignment": 0.6}, "extra_misalignment"),
        ({"cut": "yes"}, "$.cut"),
        ({"flood": True}, "flood"),
        ([], "object"),
    ],
)
def test_a_wrong_fault_is_named_and_changes_nothing(quiet_pair: KmeNetwork, body: object, named: str) -> None:
    with quiet_pair.http(quiet_pair.operator, quiet_pair.url("kme-1")) as http:
        answer = http.put("/admin/v1/links/kme-2/faults", json=body)
    assert answer.status_code == 400
    assert named in answer.json()["message"]
    faults = quiet_pair.admin_links("kme-1")["kme-2"]["faults"]
    assert faults == {"cut": False, "intercept_resend": 0.0, "extra_misalignment": 0.0}


def test_a_link_that_is_not_there(quiet_pair: KmeNetwork) -> None:
    with quiet_pair.http(quiet_pair.operator, quiet_pair.url("kme-1")) as http:
        answer = http.put("/admin/v1/links/kme-9/faults", json={})
    assert answer.status_code == 404
    assert "kme-9" in answer.json()["message"]


def test_the_end_that_does_not_run_the_link_says_when_the_other_is_away(pair: KmeNetwork) -> None:
    pair.wait_stored("kme-1", "kme-2", 1)
    pair.stop("kme-1")
    with pair.http(pair.operator, pair.url("kme-2")) as http:
        answer = http.put("/admin/v1/links/kme-1/faults", json={"cut": True})
    assert answer.status_code == 503
    assert "kme-1" in answer.json()["message"]
