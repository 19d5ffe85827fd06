"""A backup made under load by a cluster of real nodes opens its ciphertexts at another one, restarts included."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
from click.testing import CliRunner, Result
from tests.integration.conftest import MakeWorld

from qkms_chaos.canary import search_tree
from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.cluster.world import World
from qkms_client import Algorithm, Client, QkmsError, load_profile
from qkms_client.cli.main import main

pytestmark = pytest.mark.cluster

PASSPHRASE = "the passphrase of this backup"
LABELS = {f"label-{number}": "x" * 60 for number in range(60)}


def run(world: World, *command: str) -> Result:
    """A command of the operator, with the backup's passphrase on its standard input."""
    environment = {"QKMS_PROFILE": str(world.cluster.layout.profile)}
    return CliRunner().invoke(main, [*command, "--passphrase-file", "-"], input=PASSPHRASE, env=environment)


def opened_everywhere(world: World, key: str, sealed: bytes) -> None:
    """Returns when every node by itself opens the ciphertext."""
    profile = load_profile(world.cluster.layout.service_profile("payments"))

    def check() -> None:
        for node, address in profile.endpoints.items():
            with Client(replace(profile, endpoints={node: address}, timeout_s=2.0)) as client:
                try:
                    assert client.decrypt(key, sealed).plaintext == b"kept"
                except QkmsError as error:
                    raise NotYet(f"{node}: {error}") from error

    wait_for(f"every node to open a ciphertext of keys/{key}", check, 30.0)


def rotating(client: Client, key: str, stop: Event) -> int:
    """Rotates and uses the key until told to stop; how often."""
    number = 0
    while not stop.is_set():
        client.rotate_key(key)
        client.encrypt(key, b"more")
        number += 1
    return number


def test_a_backup_made_under_load_serves_at_another_cluster(
    healthy: World, make_world: MakeWorld, tmp_path: Path, new_key_id: Callable[[], str]
) -> None:
    key, signer, file = new_key_id(), new_key_id(), str(tmp_path / "backup")
    client = healthy.payments
    client.create_key(key)
    sealed = [client.encrypt(key, b"kept").ciphertext]
    client.rotate_key(key)
    sealed.append(client.encrypt(key, b"kept").ciphertext)
    client.create_key(signer, algorithm=Algorithm.ML_DSA_65)
    signature = client.sign(signer, b"message")
    # More than one entry of the log can hold.
    for _ in range(60):
        client.create_key(new_key_id(), labels=LABELS)
    stop = Event()
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(rotating, client, key, stop)
        try:
            saved = run(healthy, "backup", "save", file)
        finally:
            stop.set()
        assert busy.result() > 0
    assert saved.exit_code == 0, saved.output
    verified = run(healthy, "backup", "verify", file)
    assert verified.exit_code == 0, verified.output
    refused = run(healthy, "backup", "restore", file)
    assert refused.exit_code != 0
    assert "CLUSTER_NOT_EMPTY" in refused.output

    with make_world() as other:
        other.observer.wait_root(1)
        restored = run(other, "backup", "restore", file)
        assert restored.exit_code == 0, restored.output
        for ciphertext in sealed:
            opened_everywhere(other, key, ciphertext)
        assert other.payments.verify(signer, b"message", signature).valid

        for node in other.nodes:
            other.cluster.nodes[node].kill()
        other.cluster.start_members(other.cluster.nodes)
        for ciphertext in sealed:
            opened_everywhere(other, key, ciphertext)
        later = other.payments.rotate_key(key)
        assert later.version.version > 2, "numbers go on where the first cluster had come to"
        again = run(other, "backup", "restore", file)
        assert again.exit_code != 0
        assert "CLUSTER_NOT_EMPTY" in again.output
        assert search_tree(other.cluster.layout.folder, {"passphrase": PASSPHRASE.encode()}) == []
