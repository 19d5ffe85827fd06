"""What a scrape says of the ledger, and that it looks at no record for it but that of the active root."""

from contextlib import nullcontext
from typing import Any, cast

import pytest

from ledger_world import World, request, seeded
from qkms_node.consensus.replica import Replica
from qkms_node.keys.grade import Grade
from qkms_node.ledger import commands as c
from qkms_node.ledger.tables import Table
from qkms_node.telemetry.state import NodeState

Samples = dict[str, list[tuple[dict[str, str], float]]]


def scraped(world: World) -> Samples:
    """By metric, the samples with their labels."""
    node = NodeState("node-1", "0", cast(Replica, None), lambda: nullcontext(world.state), "file", lambda: False)
    return {metric.name: [(s.labels, s.value) for s in metric.samples] for metric in node._holdings()}


def test_keys_and_versions_are_counted_without_a_look_at_any(monkeypatch: pytest.MonkeyPatch) -> None:
    world = seeded()
    world.create("a")
    world.create("b")
    world.do(c.DisableVersion(request(), "a", 1))

    def looked_at(*_: object) -> Any:
        raise AssertionError("records were looked at")

    for name in ("capture", "values", "items", "__iter__"):
        monkeypatch.setattr(Table, name, looked_at)
    seen = scraped(world)
    assert seen["qkms_keys"] == [({"algorithm": "AES_256_GCM"}, 2)]
    states = {labels["state"]: count for labels, count in seen["qkms_key_versions"]}
    assert {state: count for state, count in states.items() if count} == {"ACTIVE": 1, "SUSPENDED": 1}


def of_the_root(world: World) -> tuple[float, dict[str, float], float, float]:
    seen = scraped(world)
    epoch, relays, qber = (seen[f"qkms_root_{name}"][0][1] for name in ("epoch", "relays", "qber"))
    return epoch, {labels["grade"]: value for labels, value in seen["qkms_root_grade"]}, relays, qber


def test_the_active_root_is_told_by_epoch_grade_relays_and_qber() -> None:
    world = World()
    assert of_the_root(world) == (0, {"PQC": 0, "QKD_PQC": 0}, 0, 0)
    world.root(1, relays=("kme-7", "kme-8"), qber=0.02)
    assert of_the_root(world) == (1, {"PQC": 0, "QKD_PQC": 1}, 2, 0.02)
    world.root(2, grade=Grade.PQC)
    assert of_the_root(world) == (2, {"PQC": 1, "QKD_PQC": 0}, 0, 0)
