"""The folder of a cluster remembers its ports; configurations follow from it."""

import socket
import tomllib
from pathlib import Path

import pytest

from qkms_chaos.cluster.config import overlaid, write_all
from qkms_chaos.cluster.layout import Layout, LayoutError, open_layout
from qkms_chaos.cluster.network import Loopback
from qkms_chaos.cluster.ports import free_ports
from qkms_node.config import load
from qkms_node.pki import Authority


class Detour(Loopback):
    """A network in which node-2 reaches node-1's Raft listener through something else."""

    def raft(self, caller: str, target: str) -> str:
        return "127.0.0.1:1" if (caller, target) == ("node-2", "node-1") else super().raft(caller, target)


def written(folder: Path, overrides: dict[str, dict[str, object]] | None = None) -> Layout:
    layout = open_layout(folder)
    write_all(layout, Loopback(layout), Authority(layout.pki), overrides or {})
    return layout


def test_a_second_opening_finds_the_same_members_on_the_same_ports(tmp_path: Path) -> None:
    first = open_layout(tmp_path, nodes=5)
    assert open_layout(tmp_path) == first
    assert first.nodes == ("node-1", "node-2", "node-3", "node-4", "node-5")
    ports = [p for s in first.sites for p in (s.raft_port, s.rpc_port, s.etsi014_port, s.link_port)]
    assert len(set(ports)) == 20


def test_another_size_is_refused_rather_than_silently_ignored(tmp_path: Path) -> None:
    open_layout(tmp_path, nodes=3)
    with pytest.raises(LayoutError, match="holds a cluster of 3 nodes, not 5"):
        open_layout(tmp_path, nodes=5)


@pytest.mark.parametrize("nodes", [0, 10, -1])
def test_a_size_that_no_cluster_has_is_refused(tmp_path: Path, nodes: int) -> None:
    with pytest.raises(LayoutError, match="has 1 to 9 nodes"):
        open_layout(tmp_path, nodes=nodes)


def test_a_damaged_record_is_told_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "cluster.toml").write_text("sites = 3")
    with pytest.raises(LayoutError, match="begin anew"):
        open_layout(tmp_path)


def test_a_folder_has_one_driver_at_a_time(tmp_path: Path) -> None:
    layout = open_layout(tmp_path)
    with layout.held(), pytest.raises(LayoutError, match="is in use by process"), layout.held():
        pass
    with layout.held():
        pass


def test_every_node_configuration_is_accepted_by_the_node(tmp_path: Path) -> None:
    layout = written(tmp_path)
    for node in layout.nodes:
        config = load(layout.config(node))
        assert config.me.id == node
        assert len(config.cluster.members) == 3
        assert config.qkd is not None
        assert config.qkd.kme_id == node.replace("node", "kme")


def test_a_kme_knows_every_sae_and_has_a_link_to_every_other_kme(tmp_path: Path) -> None:
    layout = written(tmp_path)
    table = tomllib.loads(layout.config("kme-2").read_text())
    assert [link["peer"] for link in table["links"]] == ["kme-1", "kme-3"]
    assert table["saes"] == [{"id": f"node-{n}", "kme": f"kme-{n}"} for n in (1, 2, 3)]


def test_profiles_of_operator_and_services_name_every_endpoint(tmp_path: Path) -> None:
    layout = written(tmp_path)
    for path in (layout.profile, *map(layout.service_profile, layout.services)):
        table = tomllib.loads(path.read_text())
        assert list(table["endpoints"]) == ["node-1", "node-2", "node-3"]
        for file in ("ca", "certificate", "private_key"):
            assert Path(table[file]).is_file()
    assert table["certificate"].endswith("service/ledger.pem")


def test_one_direction_can_be_led_elsewhere(tmp_path: Path) -> None:
    layout = open_layout(tmp_path)
    write_all(layout, Detour(layout), Authority(layout.pki), {})
    configs = {n: load(layout.config(n)) for n in layout.nodes}
    listener = f"127.0.0.1:{layout.site('node-1').raft_port}"
    assert configs["node-2"].raft.dial["node-1"] == "127.0.0.1:1"
    assert configs["node-3"].raft.dial["node-1"] == listener
    # What the cluster knows of a member is the same everywhere.
    assert {m.raft_address for c in configs.values() for m in c.cluster.members if m.id == "node-1"} == {listener}


def test_overrides_reach_every_node_and_then_the_one_named(tmp_path: Path) -> None:
    layout = written(
        tmp_path,
        {
            "node": {"root": {"policy": "prefer_qkd", "retry_ms": 10}},
            "node-2": {"root": {"policy": "pqc_only"}, "qkd": None},
        },
    )
    assert load(layout.config("node-1")).root.policy == "prefer_qkd"
    second = load(layout.config("node-2"))
    assert (second.root.policy, second.root.retry_ms, second.qkd) == ("pqc_only", 10, None)


def test_an_override_leaves_the_generated_table_as_it_was() -> None:
    table: dict[str, object] = {"a": {"b": 1}}
    assert overlaid(table, {"x": {"a": {"b": 2}}}, "x") == {"a": {"b": 2}}
    assert table == {"a": {"b": 1}}


def test_ports_are_free_and_different() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()


def test_processes_side_by_side_choose_from_ranges_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QKMS_PORTS", "21000-21049")
    ports = free_ports(10) + free_ports(10)
    assert len(set(ports)) == 20
    assert all(21_000 <= port <= 21_049 for port in ports)
    for wrong in ("21000", "21000-", "9-10", "3000-2000", "a-b"):
        monkeypatch.setenv("QKMS_PORTS", wrong)
        with pytest.raises(ValueError, match="QKMS_PORTS"):
            free_ports(1)


def test_a_taken_port_is_not_offered() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="only 0 of 1 ports found free"):
            free_ports(1, within=range(port, port + 1))
