"""The in-memory server behaves like a cluster where a test of a service can tell."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from queue import Queue

import pytest

from qkms_client import Client, Consistency, Grade, at_least, bounded, errors, linearizable
from qkms_client.consistency import STALE_OK
from qkms_client.testing import MemoryServer


@pytest.fixture(scope="module")
def server() -> Iterator[MemoryServer]:
    with MemoryServer() as running:
        yield running


@pytest.fixture
def payments(server: MemoryServer) -> Iterator[Client]:
    with server.client("payments") as client:
        yield client


def test_a_key_is_made_used_and_rotated(payments: Client) -> None:
    payments.create_key("cards")
    sealed = payments.encrypt("cards", b"4111", context={"tenant": "a"})
    assert sealed.grade is Grade.PQC
    rotation = payments.rotate_key("cards")
    assert (rotation.version.version, rotation.replayed) == (2, False)
    assert payments.decrypt("cards", sealed.ciphertext, context={"tenant": "a"}).plaintext == b"4111"
    with pytest.raises(errors.CiphertextRejected):
        payments.decrypt("cards", sealed.ciphertext, context={"tenant": "b"})


def test_a_session_between_two_services(server: MemoryServer, payments: Client) -> None:
    offered: Queue[str] = Queue()
    with server.client("ledger") as ledger, ThreadPoolExecutor(1) as pool:
        opening = pool.submit(
            payments.open_session, "spiffe://qkms.dev/service/ledger", announce=offered.put, timeout=20.0
        )
        theirs = ledger.join_session(offered.get(timeout=20), timeout=20.0)
        ours = opening.result()
    assert ours.fingerprint() == theirs.fingerprint()


def test_a_cut_server_refuses_what_needs_a_quorum(server: MemoryServer, payments: Client) -> None:
    payments.create_key("cut-off")
    server.cut()
    try:
        with pytest.raises(errors.NoQuorum):
            payments.get_key("cut-off", consistency=linearizable(), timeout=1.0)
        assert payments.encrypt("cut-off", b"x", consistency=bounded(timedelta(minutes=1))).ciphertext
        with pytest.raises(errors.TooStale):
            payments.encrypt("cut-off", b"x", consistency=bounded(timedelta(milliseconds=1)), timeout=1.0)
    finally:
        server.heal()


def test_a_policy_of_the_tests_own_is_kept() -> None:
    with (
        MemoryServer(rules=()) as closed,
        closed.client("anyone") as client,
        pytest.raises(errors.PermissionDenied),
    ):
        client.create_key("nothing")


@pytest.mark.parametrize(
    "consistency", [STALE_OK, at_least(1), bounded(timedelta(hours=1))], ids=lambda level: level.level.name
)
def test_whatever_a_caller_puts_up_with_a_key_is_used_no_staler_than_its_own_bound(
    server: MemoryServer, payments: Client, consistency: Consistency
) -> None:
    key = f"bounded-{consistency.level.name.lower().replace('_', '-')}"
    payments.create_key(key, max_staleness=timedelta(milliseconds=200))
    sealed = payments.encrypt(key, b"x", consistency=consistency).ciphertext
    server.cut()
    try:
        time.sleep(0.3)
        with pytest.raises((errors.TooStale, errors.DeadlineExceeded)):
            payments.encrypt(key, b"x", consistency=consistency, timeout=0.5)
        with pytest.raises((errors.TooStale, errors.DeadlineExceeded)):
            payments.decrypt(key, sealed, consistency=consistency, timeout=0.5)
        assert payments.get_key(key, consistency=STALE_OK).primary_version == 1
    finally:
        server.heal()
