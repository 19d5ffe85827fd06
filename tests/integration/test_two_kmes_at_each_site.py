"""A cluster whose sites have two KMEs each and whose nodes draw ahead: the root is seeded on while KMEs fall."""

import json
import sqlite3
import sys
import tomllib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import tomli_w

from qkms_chaos.cluster.config import overlay_file
from qkms_chaos.cluster.driver import Cluster
from qkms_chaos.cluster.network import HOST
from qkms_chaos.cluster.ports import free_ports
from qkms_chaos.cluster.process import Process
from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.cluster.world import World
from qkms_client.types import Grade, Link
from qkms_node.pki import Identity

pytestmark = pytest.mark.cluster

WAITS_S = 20.0
SECOND = {"kme-1": "kme-1b", "kme-2": "kme-2b", "kme-3": "kme-3b"}


class SecondKmes:
    """Another KME at each site, joined among themselves and not to the first ones; nodes are told of both."""

    def __init__(self, prefetch: dict[str, object] | None = None) -> None:
        self.processes: dict[str, Process] = {}
        self._prefetch = prefetch

    def add_to(self, cluster: Cluster) -> None:
        """Writes them down beside the first, and starts them."""
        layout = cluster.layout
        ports = dict(zip(SECOND, zip(*[iter(free_ports(2 * len(SECOND)))] * 2, strict=True), strict=True))
        for first, second in SECOND.items():
            table = tomllib.loads(layout.config(first).read_text())
            listen, link_listen = (f"{HOST}:{port}" for port in ports[first])
            home = layout.folder / second
            home.mkdir()
            tls = cluster.authority.issue(Identity("kme", second), addresses=(HOST,)).table()
            table["kme"] |= {"id": second, "listen": listen, "link_listen": link_listen, "data_dir": str(home)}
            table["tls"] = tls
            table["saes"] = [{"id": sae["id"], "kme": SECOND[sae["kme"]]} for sae in table["saes"]]
            for link in table["links"]:
                link["peer_address"] = f"{HOST}:{ports[link['peer']][1]}"
                link["peer"] = SECOND[link["peer"]]
            config = home / "kme.toml"
            config.write_text(tomli_w.dumps(table))
            command = [sys.executable, "-m", "qkms_qkd.kme", "serve", "--config", str(config)]
            self.processes[second] = Process(second, command, home / "log")
            self.processes[second].start()
            node = layout.site(first).node
            kmes = [
                {"kme_id": second, "priority": 20, "kme_url": f"https://{listen}"},
                {"kme_id": first, "priority": 10, "kme_url": f"https://{cluster.network.etsi014(node, first)}"},
            ]
            qkd: dict[str, object] = {
                "kme_id": None,
                "kme_url": None,
                "kmes": kmes,
                "poll_ms": 300,
                "retry_ms": 600,
            }
            qkd |= {"prefetch": self._prefetch} if self._prefetch else {}
            overlay_file(layout.config(node), {node: {"qkd": qkd, "root": {"retry_ms": 300}}}, node)
        for process in self.processes.values():
            process.wait_ready(lambda process=process: self._ready(process))  # type: ignore[misc]

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()

    def drawn(self) -> set[str]:
        """Ids of the keys that they have given to a master."""
        lines = [json.loads(line) for p in self.processes.values() for line in p.log.read_text().splitlines()]
        return {key_id for line in lines if line["event"] == "keys.drawn" for key_id in line["key_ids"]}

    def _ready(self, process: Process) -> None:
        if "kme.ready" not in process.log.read_text():
            raise NotYet("it does not say so")


def root_keys(world: World, epoch: int) -> set[str]:
    """The QKD keys of the active root, which has this epoch at least and every grade that there is."""
    status = next(iter(world.observer.wait_root(epoch, Grade.QKD_PQC).values()))
    assert status.root is not None
    return set(status.root.qkd_key_ids)


def rotated(world: World) -> set[str]:
    """The QKD keys of another root."""
    status = world.operator.status()
    assert status.root is not None
    world.operator.rotate_root(expected_epoch=status.root.epoch)
    return root_keys(world, status.root.epoch + 1)


def served(world: World, node: str, kme: str) -> list[Link]:
    """The links of a node, once each is served by this KME."""

    def probe() -> list[Link]:
        links = world.observer.links(node)
        if not links or any({k.kme_id for k in link.kmes if k.serves} != {kme} for link in links):
            raise NotYet(str(links))
        return links

    return wait_for(f"{kme} to serve {node}", probe, WAITS_S)


MakeWorld = Callable[..., AbstractContextManager[World]]


def test_the_second_kme_serves_while_the_first_is_down_and_the_first_again_when_it_is_back(
    make_world: MakeWorld,
) -> None:
    second = SecondKmes()
    try:
        with make_world(prepared=second.add_to) as world:
            assert not root_keys(world, 1) & second.drawn()
            leader = world.observer.wait_leader()
            mine = world.cluster.layout.site(leader).kme
            served(world, leader, mine)
            world.cluster.member(mine).kill()
            assert rotated(world) <= second.drawn(), "every key was drawn at the second KME, and found there"
            for link in served(world, leader, SECOND[mine]):
                assert [(kme.kme_id, kme.serves) for kme in link.kmes] == [(mine, False), (SECOND[mine], True)]
                assert "KME_UNREACHABLE" in link.kmes[0].error
                assert link.error == ""
            world.cluster.start_members([mine])
            served(world, leader, mine)
            assert not rotated(world) & second.drawn()
    finally:
        second.stop()


@pytest.mark.soak
def test_keys_that_were_drawn_ahead_outlive_a_kill_and_seed_the_root_with_no_kme_at_the_leader(
    make_world: MakeWorld,
) -> None:
    second = SecondKmes({"low": 2, "high": 3, "max_age_ms": 600_000})
    try:
        with make_world(prepared=second.add_to) as world:
            root_keys(world, 1)
            leader = world.observer.wait_leader()
            follower = world.others(leader)[0]
            database = world.cluster.layout.home(follower) / "data" / "prefetch" / "prefetch.sqlite"
            wait_for("keys drawn ahead", lambda: waiting(database), WAITS_S)
            world.cluster.member(follower).kill()
            before = waiting(database)
            world.cluster.start_members([follower])
            wait_for("them to be there still", lambda: ahead(world, follower), WAITS_S)
            assert before & waiting(database)
            mine = world.cluster.layout.site(leader := world.observer.wait_leader()).kme
            wait_for("keys at the leader", lambda: ahead(world, leader), WAITS_S)
            held = waiting(world.cluster.layout.home(leader) / "data" / "prefetch" / "prefetch.sqlite")
            world.cluster.member(mine).kill()
            second.processes[SECOND[mine]].kill()
            assert rotated(world) <= held
    finally:
        second.stop()


def waiting(database: Path) -> set[str]:
    """Ids of the keys in the file of a node."""
    if not database.exists():
        raise NotYet("there is no file")
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        found = {key_id for (key_id,) in connection.execute("SELECT key_id FROM keys")}
    except sqlite3.OperationalError as error:
        raise NotYet(str(error)) from None
    finally:
        connection.close()
    if not found:
        raise NotYet("no key")
    return found


def ahead(world: World, node: str) -> None:
    counts = [link.prefetched_key_count for link in world.observer.links(node)]
    if len(counts) != 2 or min(counts) < 1:
        raise NotYet(str(counts))
