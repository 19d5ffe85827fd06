"""What a scrape says of the ledger, and that it looks at no record for it."""

from contextlib import nullcontext
from typing import Any, cast

import pytest
from prometheus_client.core import Metric

from ledger_world import request, seeded
from qkms_node.consensus.replica import Replica
from qkms_node.ledger import commands as c
from qkms_node.ledger.tables import Table
from qkms_node.telemetry.state import NodeState


def test_keys_and_versions_are_counted_without_a_look_at_any(monkeypatch: pytest.MonkeyPatch) -> None:
    world = seeded()
    world.create("a")
    world.create("b")
    world.do(c.DisableVersion(request(), "a", 1))
    node = NodeState("node-1", "0", cast(Replica, None), lambda: nullcontext(world.state), "file", lambda: False)

    def looked_at(*_: object) -> Any:
        raise AssertionError("records were looked at")

    for name in ("capture", "values", "items", "__iter__"):
        monkeypatch.setattr(Table, name, looked_at)
    seen: dict[str, Metric] = {metric.name: metric for metric in node._holdings()}
    assert [(s.labels, s.value) for s in seen["qkms_keys"].samples] == [({"algorithm": "AES_256_GCM"}, 2)]
    states = {s.labels["state"]: s.value for s in seen["qkms_key_versions"].samples}
    assert {state: count for state, count in states.items() if count} == {"ACTIVE": 1, "SUSPENDED": 1}
