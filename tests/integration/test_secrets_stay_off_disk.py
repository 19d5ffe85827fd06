"""Canaries: plaintexts, data keys, derived keys, key material, session and SAE keys are on no disk, in no log."""

from collections.abc import Callable

import pytest

from qkms_chaos.canary import search_tree
from qkms_chaos.cluster.world import World
from qkms_chaos.workload.canaries import make_canaries

pytestmark = pytest.mark.cluster


def test_no_canary_is_found_in_any_file(healthy: World, new_key_id: Callable[[], str]) -> None:
    canaries = make_canaries(healthy, new_key_id(), rounds=5)
    healthy.observer.wait_agreement()

    kinds = {name.rstrip("0123456789 ") for name in canaries.secrets}
    assert kinds >= {"plaintext", "data key", "derived key", "imported material", "session exporter"}
    assert sum("version" in name for name in canaries.secrets) == 4
    assert sum(name.startswith("SAE key") for name in canaries.secrets) == 4
    folder = healthy.cluster.layout.folder
    assert search_tree(folder, canaries.secrets) == []
    # The search does see the ledger on each node's disk: what is no secret is found there.
    seen = {hit.where.split("/")[0] for hit in search_tree(folder, {"a label": canaries.label.encode()})}
    assert seen >= set(healthy.nodes)
