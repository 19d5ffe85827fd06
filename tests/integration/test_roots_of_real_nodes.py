"""Three real nodes, each sealed in another way: restarts, recovery, backup, sealing, by the command lines.

node-1 has a passphrase, node-2 a PKCS #11 token, node-3 keeps nothing on disk.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.integration.conftest import MakeWorld

import softhsm
from qkms_chaos.canary import search_tree
from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.cluster.world import World
from qkms_client import errors as e
from qkms_client.cli.main import main

pytestmark = pytest.mark.cluster

PASSPHRASE = b"the passphrase of node-1"


@pytest.fixture(scope="module")
def sealed_apart(make_world: MakeWorld, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A cluster of the three modes that need somebody or something else at a restart."""
    module = softhsm.module()
    if module is None:
        pytest.skip("SoftHSM2 is not installed: run make softhsm as root")
    folder = tmp_path_factory.mktemp("hsm")
    pin = folder / "pin"
    pin.write_bytes(softhsm.PIN)
    pin.chmod(0o600)
    seals: dict[str, dict[str, object]] = {
        "node-1": {"mode": "passphrase", "argon2_memory_kib": 8192, "argon2_passes": 1},
        "node-2": {"mode": "pkcs11", "module": str(module), "token_label": "qkms", "secret_file": str(pin)},
        "node-3": {"mode": "peers"},
    }
    overrides = {node: {"seal": {"key_file": None, **seal}} for node, seal in seals.items()}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in softhsm.make_token(folder / "token", "qkms").items():
            patch.setenv(name, value)
        with make_world(overrides=overrides) as world:
            yield world


def run(world: World, *command: str, data: bytes = b"") -> str:
    """A command of the operator; its standard output."""
    environment = {"QKMS_PROFILE": str(world.cluster.layout.profile)}
    done = CliRunner().invoke(main, command, input=data, env=environment)
    assert done.exit_code == 0, done.output
    return done.stdout


def unseal_node_1(world: World) -> None:
    """`qkms-node unseal` at the node, with the passphrase on its standard input."""
    config = str(world.cluster.layout.config("node-1"))
    command = [sys.executable, "-m", "qkms_node", "unseal", "--config", config]
    done = subprocess.run(command, input=PASSPHRASE + b"\n", capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


def kill_nodes(world: World) -> None:
    for process in world.cluster.nodes.values():
        process.kill()


def every_root_open(world: World) -> None:
    """Returns when every node serves the key, without help of another."""

    def check() -> None:
        for node in world.nodes:
            status = world.operator.status(node)
            if status.root is None or status.root.epoch not in status.open_epochs:
                raise NotYet(f"{node}: {status.seeding}")

    wait_for("every node to hold the root", check, 30.0)


def test_seals_restarts_recovery_and_backup(sealed_apart: World, tmp_path: Path) -> None:
    world, cluster, operator = sealed_apart, sealed_apart.cluster, sealed_apart.operator
    unseal_node_1(world)
    every_root_open(world)
    world.payments.create_key("payments")
    sealed = world.payments.encrypt("payments", b"data").ciphertext

    # Recovery shares, and a backup for their holders.
    run(world, "recovery", "init", "--shares", "3", "--threshold", "2", "--out-dir", str(tmp_path))
    shares = sorted(tmp_path.glob("recovery-*.txt"))
    assert [path.stat().st_mode & 0o777 for path in shares] == [0o600] * 3
    share_options = [word for path in shares[1:] for word in ("--share-file", str(path))]
    wait_for("the epoch to be sealed to the shares", lambda: recoverable(world), 30.0)
    assert "epochs 1" in run(world, "recovery", "verify", *share_options)
    backup = tmp_path / "backup"
    run(world, "backup", "save", str(backup))
    assert "whole; 1 keys" in run(world, "backup", "verify", str(backup), *share_options)

    # One alone: a peer gives it the root.
    cluster.nodes["node-3"].kill()
    cluster.start_members(["node-3"])
    every_root_open(world)

    # All at once: the token opens node-2, the passphrase node-1, and both are peers of node-3.
    kill_nodes(world)
    cluster.start_members(cluster.nodes)
    status = operator.status("node-1").seal
    assert status is not None
    assert (status.sealed, status.needs_secret, status.stored) == (True, True, True)
    run(world, "unseal", "--node", "node-1", "--secret-file", "-", data=PASSPHRASE)
    every_root_open(world)
    assert world.payments.decrypt("payments", sealed).plaintext == b"data"

    # Every store lost at once: nothing but the ledger and the shares is left.
    kill_nodes(world)
    for node in world.nodes:
        (cluster.layout.home(node) / "data" / "roots.sealed").unlink(missing_ok=True)
    cluster.start_members(cluster.nodes)
    unseal_node_1(world)
    with pytest.raises(e.RootNotReady):
        world.payments.decrypt("payments", sealed, timeout=1.0)
    opened = run(world, "recovery", "open", "--node", "node-1", *share_options)
    assert opened == "node-1 holds root epochs 1\n"
    every_root_open(world)
    assert world.payments.decrypt("payments", sealed).plaintext == b"data"

    # Sealed everywhere: no key is served, and status says so.
    run(world, "seal", "--all", "--even-if-last")
    with pytest.raises(e.Sealed):
        world.payments.decrypt("payments", sealed, timeout=1.0)
    rows = json.loads(run(world, "status", "--json"))
    assert all(row["seal"]["sealed"] for row in rows.values())

    texts = {p.name: p.read_text().splitlines()[1].encode() for p in shares}
    assert search_tree(cluster.layout.folder, {"passphrase": PASSPHRASE, "pin": softhsm.PIN} | texts) == []


def recoverable(world: World) -> None:
    uses = world.operator.status().epoch_uses
    if not all(use.recoverable for use in uses):
        raise NotYet(f"in use: {uses}")
