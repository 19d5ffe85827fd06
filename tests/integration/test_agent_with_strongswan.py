"""`qkms-agent strongswan` at both ends of a real IKE SA that requires a PPK (RFC 8784): the cluster's, rotated."""

import os
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from vici.exception import CommandException

import agents
import namespaces
from namespaces import Host, two_hosts
from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.cluster.world import World
from qkms_client.agent.strongswan import vici_session

pytestmark = pytest.mark.cluster

WAITS_S = 40.0
PPK_ID = "qkms-tunnel"
INSIDE = dict(zip(namespaces.ADDRESSES, ("198.51.100.1", "198.51.100.2"), strict=True))  # TEST-NET-2
CHARON = Path("/usr/lib/ipsec/charon")
CONF = """
charon {{
  load = random nonce openssl pem pubkey hmac kdf gcm aes sha2 kernel-libipsec kernel-netlink socket-default vici
  make_before_break = yes
  plugins {{ vici {{ socket = unix://{socket} }} }}
  filelog {{ log {{ path = {log} \n flush_line = yes }} }}
}}
"""


@dataclass(frozen=True)
class End:
    """charon in one namespace, with its control socket."""

    host: Host
    socket: Path
    log: Path

    def ask(self) -> AbstractContextManager[Any]:
        """A session with the daemon."""
        return vici_session(str(self.socket))

    def associations(self) -> list[dict[str, Any]]:
        """The established IKE SAs."""
        with self.ask() as session:
            found = [sa for sas in session.list_sas({"ike": "tunnel"}) for sa in sas.values()]
        return [sa for sa in found if sa["state"] == b"ESTABLISHED"]


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[End]]:
    """Two daemons that know each other and may not connect without a PPK."""
    problem = namespaces.missing()
    if not problem and not CHARON.exists():
        problem = "strongSwan is not installed: run make tunnels as root"
    if problem:
        pytest.skip(problem)
    folder = tmp_path_factory.mktemp("charon")
    with two_hosts(f"qk{secrets.token_hex(3)}") as hosts, ExitStack() as running:
        made = [End(host, folder / f"{host.name}.vici", folder / f"{host.name}.log") for host in hosts]
        for end in made:
            end.host.run("ip", "address", "add", f"{INSIDE[end.host.address]}/32", "dev", "lo")
            conf = folder / f"{end.host.name}.conf"
            conf.write_text(CONF.format(socket=end.socket, log=end.log))
            # A /run of its own: the daemon allows one of its kind by a file there.
            command = f"mount -t tmpfs tmpfs /run && exec {CHARON}"
            process = subprocess.Popen(
                end.host.inside("unshare", "--mount", "sh", "-c", command),
                env=os.environ | {"STRONGSWAN_CONF": str(conf)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            running.callback(process.wait, 10)
            running.callback(process.terminate)
        psk = secrets.token_bytes(32)
        for end, other in (made, made[::-1]):
            wait_for("charon to start", lambda e=end: listening(e), WAITS_S)  # type: ignore[misc]
            with end.ask() as session:
                session.load_shared({"id": "psk", "type": "IKE", "data": psk})
                session.load_conn(connection(end.host, other.host))
        yield made


def listening(end: End) -> None:
    try:
        with end.ask():
            pass
    except OSError as error:
        raise NotYet(str(error)) from error


def connection(own: Host, peer: Host) -> dict[str, Any]:
    return {
        "tunnel": {
            "version": "2",
            "proposals": ["aes256gcm16-prfsha256-x25519"],
            "local_addrs": [own.address],
            "remote_addrs": [peer.address],
            "ppk_id": PPK_ID,
            "ppk_required": "yes",
            "local": {"auth": "psk", "id": own.name},
            "remote": {"auth": "psk", "id": peer.name},
            "children": {
                "traffic": {
                    "local_ts": [f"{INSIDE[own.address]}/32"],
                    "remote_ts": [f"{INSIDE[peer.address]}/32"],
                    "esp_proposals": ["aes256gcm16"],
                }
            },
        }
    }


def agent(world: World, end: End, names: tuple[str, str], log: Path) -> AbstractContextManager[None]:
    """`qkms-agent strongswan` beside one daemon, as the service named first."""
    command = ("strongswan", PPK_ID, "--connection", "tunnel", "--socket", str(end.socket))
    return agents.agent(world, names, log, command, ("--tunnel", "ike"))


def initiate(end: End) -> str:
    """Begins the connection; the problem, or nothing."""
    try:
        with end.ask() as session:
            for _ in session.initiate({"ike": "tunnel", "child": "traffic", "timeout": "5000"}):
                pass
    except CommandException as error:
        return str(error)
    return ""


def test_a_real_ike_sa_is_authenticated_under_keys_of_the_cluster(
    healthy: World, ends: Sequence[End], tmp_path: Path
) -> None:
    one, other = ends
    assert initiate(one), "nothing connects without a PPK"
    assert not one.associations()
    logs = tmp_path / "one", tmp_path / "other"
    with (
        agent(healthy, one, ("ledger", "payments"), logs[0]),
        agent(healthy, other, ("payments", "ledger"), logs[1]),
    ):
        wait_for("a PPK at both ends", lambda: has_installed(logs), WAITS_S)
        assert not initiate(one), one.log.read_text()
        [first] = one.associations()
        assert first["ppk"] == b"yes"
        inside = [INSIDE[end.host.address] for end in ends]
        assert one.host.reaches(inside[1], 5, source=inside[0]), "through ESP"
        wait_for("another SA under the next PPK", lambda: another(one, first["uniqueid"]), WAITS_S)
        assert one.host.reaches(inside[1], 5, source=inside[0])
    assert "IKE_SA tunnel" in other.log.read_text()


def has_installed(logs: tuple[Path, Path]) -> None:
    if not all("installed" in log.read_text() for log in logs):
        raise NotYet(logs[0].read_text() + logs[1].read_text())


def another(end: End, before: bytes) -> None:
    found = [sa for sa in end.associations() if sa["uniqueid"] != before and sa["ppk"] == b"yes"]
    if not found:
        raise NotYet("there is no other SA")
