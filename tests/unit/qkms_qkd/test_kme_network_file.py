"""A network in one file: what each site runs by, what is refused, the map, and a key across three served sites."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qkms_chaos.cluster.ports import free_ports
from qkms_qkd.errors import LinkError
from qkms_qkd.etsi014.client import Etsi014Link
from qkms_qkd.kme.network.file import parse_network
from qkms_qkd.kme.settings import LinkSection
from qkms_qkd.kme.toml_files import SettingsError
from qkms_qkd.link import QkdKey
from sample_files import NETWORK_TOML as GOOD

from .certificates import TestAuthority
from .kme_network import eventually


def kme(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "qkms_qkd.kme", *map(str, arguments)], capture_output=True, text=True, timeout=60
    )


def test_every_site_has_its_links_the_map_and_all_saes() -> None:
    network = parse_network(GOOD.encode())
    one, two = network.settings("kme-1"), network.settings("kme-2")
    assert one.links == [LinkSection(peer="kme-2", peer_address="127.0.0.1:9402", length_km=25, pulse_rate_hz=1e8)]
    assert [link.peer for link in two.links] == ["kme-1", "kme-3"]
    assert one.network is not None
    assert two.network is not None
    assert (one.network.links, one.network.disjoint_routes) == ([("kme-3", "kme-2")], 2)
    assert two.network.links == []
    assert (one.kme.data_dir, one.tls.certificate) == ("data/kme-1", "kme-1.pem")
    assert one.skip is not None
    assert two.skip is None
    assert [one.kme_of(f"node-{i}") for i in (1, 2, 3, 4)] == ["kme-1", "kme-2", None, "kme-2"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('data_dir = "data/{site}"', 'data_dir = "data"', "data_dir: must contain {site}"),
        ('id = "kme-2"', 'id = "kme-1"', "sites[1].id: 'kme-1' is listed twice"),
        ('sites = ["kme-3", "kme-2"]', 'sites = ["kme-3", "kme-9"]', "links[1].sites: 'kme-9' is not among"),
        ('sites = ["kme-3", "kme-2"]', 'sites = ["kme-3", "kme-3"]', "links[1].sites: joins 'kme-3' to itself"),
        ('sites = ["kme-3", "kme-2"]', 'sites = ["kme-2", "kme-1"]', "links[1].sites: is a link that is there"),
        ("length_km = 50", "length_km = -1", "site kme-2: links[1].length_km: must be a length"),
        ("disjoint_routes = 2", "disjoint_routes = 0", "site kme-1: network.disjoint_routes: must be from 1"),
        ("disjoint_routes", "disjoint", "relaying.disjoint: is not a setting"),
        ('listen = "127.0.0.1:9303"', 'listen = "nowhere"', "site kme-3: kme.listen: must be host:port"),
        ('saes = ["node-2", "node-4"]', 'saes = ["node-1"]', "site kme-1: saes[1].id: 'node-1' is listed twice"),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, said: str) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    with pytest.raises(SettingsError) as caught:
        parse_network(text.encode())
    assert str(caught.value).startswith(said)


def test_the_commands_name_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "network.toml"
    file.write_text(GOOD.replace("length_km = 50", "length_km = -1"))
    for command in (("map", file), ("serve", "--network", file)):
        answer = kme(*command)
        assert answer.returncode == 2
        assert "site kme-2: links[1].length_km: must be a length" in answer.stderr
    file.write_text(GOOD)
    answer = kme("serve", "--network", file, "--site", "kme-9")
    assert answer.returncode == 2
    assert "sites: 'kme-9' is not among them: kme-1, kme-2, kme-3" in answer.stderr


def test_the_map_shows_links_and_routes(tmp_path: Path) -> None:
    file = tmp_path / "network.toml"
    file.write_text(GOOD)
    shown = kme("map", file).stdout
    assert "kme-1 ═══ kme-2   25 km, 71,132 bit/s" in shown
    assert "kme-1 to kme-2: direct  (1 of 2 disjoint routes: a relayed key is refused)" in shown
    assert "kme-1 to kme-3: by kme-2  (1 of 2 disjoint routes: every key is refused)" in shown
    report = json.loads(kme("map", file, "--json").stdout)
    assert report["sites"]["kme-2"] == ["node-2", "node-4"]
    assert {"sites": ["kme-1", "kme-3"], "routes": [["kme-1", "kme-2", "kme-3"]]} in report["routes"]
    file.write_text(GOOD.replace("[relaying]\ndisjoint_routes = 2\n", ""))
    assert "kme-1 to kme-3: no route" in kme("map", file).stdout


class Served:
    """Three sites in a row, of one file, served by one command."""

    def __init__(self, folder: Path) -> None:
        self._authority = TestAuthority(folder / "pki")
        text = GOOD.replace("disjoint_routes = 2\n", "").replace("length_km = 50", "length_km = 20")
        text = text.replace('link_listen = "127.0.0.1:9403"', 'link_listen = "127.0.0.1:9403"\nsaes = ["node-3"]')
        names = ("9301", "9302", "9303", "9401", "9402", "9403", "9501")
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))
        for name, port in self._ports.items():
            text = text.replace(name, str(port))
        for site in ("kme-1", "kme-2", "kme-3"):
            leaf = self._authority.issue("kme", site)
            (folder / f"{site}.pem").write_bytes(leaf.certificate.read_bytes())
            (folder / f"{site}.key").write_bytes(leaf.private_key.read_bytes())
            (folder / "ca.pem").write_bytes(leaf.ca.read_bytes())
        (folder / "network.toml").write_text(text)
        self.log = folder / "log"
        with self.log.open("w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "qkms_qkd.kme", "serve", "--network", "network.toml"],
                cwd=folder,
                stderr=stderr,
            )

    def link(self, here: int, there: int) -> Etsi014Link:
        leaf = self._authority.issue("node", f"node-{here}")
        return Etsi014Link(
            kme_id=f"kme-{here}",
            url=f"https://127.0.0.1:{self._ports[f'930{here}']}",
            local_sae=f"node-{here}",
            peer_sae=f"node-{there}",
            ca=leaf.ca,
            certificate=leaf.certificate,
            private_key=leaf.private_key,
            kme_identity=f"spiffe://qkms.dev/kme/kme-{here}",
        )


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    network = Served(tmp_path)
    try:
        yield network
    finally:
        network.process.send_signal(signal.SIGTERM)
        assert network.process.wait(20) == 0


async def test_a_key_crosses_three_sites_served_by_one_command(served: Served) -> None:
    eventually("all sites are ready", lambda: served.log.read_text().count("kme.ready") == 3)
    master, slave = served.link(1, 3), served.link(3, 1)
    drawn = await first_key(master)
    [got] = await slave.collect([drawn.key_id])
    assert (got.key, got.relays) == (drawn.key, ("kme-2",))
    await master.close()
    await slave.close()
    lines = [json.loads(line) for line in served.log.read_text().splitlines()]
    greeted = {line["kme"] for line in lines if line["event"] == "link.resynchronised"}
    assert greeted == {"kme-1", "kme-2", "kme-3"}


async def first_key(link: Etsi014Link) -> QkdKey:
    """The first that the links have made."""
    for _ in range(200):
        try:
            [key] = await link.draw()
        except LinkError:
            await asyncio.sleep(0.1)
        else:
            return key
    raise AssertionError("no key came")
