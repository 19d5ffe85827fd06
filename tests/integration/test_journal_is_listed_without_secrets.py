"""`qkms-node inspect-journal` shows an operator what a stopped node's journal holds, and no content."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from qkms_chaos.cluster.world import World

pytestmark = pytest.mark.cluster


def test_the_journal_of_a_node_is_listed(make_world: Callable[..., AbstractContextManager[World]]) -> None:
    settings: dict[str, dict[str, object]] = {"node": {"root": {"policy": "pqc_only"}}}
    with make_world(overrides=settings) as world:
        world.observer.wait_root(1)
        world.payments.create_key("unmistakable-name")
        config = world.cluster.layout.home("node-1") / "node.toml"
        command = [sys.executable, "-m", "qkms_node", "inspect-journal", "--config", str(config)]
        listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "records in" in listed.stdout
    assert len(listed.stdout.splitlines()) > 5
    assert "unmistakable-name" not in listed.stdout
    assert listed.stderr == ""
