"""Both ends of a tunnel over a real node: a key each rotation, two phases, restarts, ends that fail or miss."""

import base64
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from qkms_client import Client
from qkms_client.agent.agent import Agent
from qkms_client.agent.file import FileTarget
from qkms_client.agent.rotation import AgreedKey, Tunnel, Turn, next_rotation_s, rotation_at, session_id
from qkms_client.agent.target import TargetFailed
from qkms_client.testing import MemoryServer

OFFERING, JOINING = "spiffe://qkms.dev/service/a", "spiffe://qkms.dev/service/b"
WAITS_S = 20.0


@pytest.fixture(scope="module")
def server() -> Iterator[MemoryServer]:
    with MemoryServer() as running:
        yield running


class Memory:
    """A target that keeps what it was given, and fails while told to."""

    def __init__(self) -> None:
        self.keys: list[AgreedKey] = []
        self.began: list[bool] = []
        self.fails = False

    def install(self, key: AgreedKey, *, initiates: bool) -> None:
        if self.fails:
            raise TargetFailed("the interface is gone")
        self.keys.append(key)
        self.began.append(initiates)


class End:
    """One agent on a thread of its own."""

    def __init__(self, server: MemoryServer, name: str, tunnel: str, target: Any, period_s: float) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.target = target
        own, peer = (OFFERING, JOINING) if name == "a" else (JOINING, OFFERING)
        self.client: Client = server.client(name)
        self.agent = Agent(
            self.client,
            Tunnel(tunnel, own, peer),
            target,
            period_s=period_s,
            attempt_s=1.5,
            told=lambda event, **fields: self.events.append((event, fields)),
        )
        self._thread = threading.Thread(target=self.agent.run, daemon=True)

    def __enter__(self) -> "End":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.agent.stop.set()
        self._thread.join(WAITS_S)
        assert not self._thread.is_alive()
        self.client.close()

    def problems(self) -> list[str]:
        return [fields["problem"] for event, fields in self.events if "problem" in fields]


@pytest.fixture
def end(server: MemoryServer, request: pytest.FixtureRequest) -> Callable[..., End]:
    """Ends of a tunnel that only this test has."""
    tunnel = request.node.name

    def make(name: str, target: Any, period_s: float = 3600.0) -> End:
        return End(server, name, tunnel, target, period_s)

    return make


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAITS_S
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


@contextmanager
def whole_hour() -> Iterator[None]:
    """Not over the end of a rotation of an hour."""
    if next_rotation_s(time.time(), 3600.0) < WAITS_S:
        time.sleep(WAITS_S)
    yield


def test_both_ends_have_one_key_and_the_joining_one_first(end: Callable[..., End]) -> None:
    order: list[str] = []

    class Noting(Memory):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def install(self, key: AgreedKey, *, initiates: bool) -> None:
            order.append(self.name)
            super().install(key, initiates=initiates)

    with whole_hour(), end("a", Noting("a")) as a, end("b", Noting("b")) as b:
        until(lambda: a.target.keys and b.target.keys)
    assert order == ["b", "a"]
    assert (a.target.began, b.target.began) == ([True], [False])
    assert a.target.keys[0].key == b.target.keys[0].key
    assert len(a.target.keys[0].key) == 32
    assert a.target.keys[0].key.hex() not in repr(a.target.keys) + repr(a.events)


def test_each_rotation_has_a_key_of_its_own(end: Callable[..., End]) -> None:
    with end("a", Memory(), 2.0) as a, end("b", Memory(), 2.0) as b:
        until(lambda: len(a.target.keys) >= 3)
    keys = [key.key for key in a.target.keys]
    assert len(set(keys)) == len(keys)
    assert keys == [key.key for key in b.target.keys][: len(keys)]


def test_an_end_that_was_restarted_brings_another_key(end: Callable[..., End]) -> None:
    with whole_hour(), end("b", Memory()) as b:
        with end("a", Memory()) as a:
            until(lambda: a.target.keys)
        with end("a", Memory()) as again:
            until(lambda: again.target.keys)
        assert again.target.keys[0].key == b.target.keys[1].key != a.target.keys[0].key


def test_the_offering_end_waits_for_one_that_comes_late(end: Callable[..., End]) -> None:
    with whole_hour(), end("a", Memory()) as a:
        until(lambda: any("has not joined" in problem for problem in a.problems()))
        assert not a.target.keys
        with end("b", Memory()) as b:
            until(lambda: a.target.keys and b.target.keys)
    assert a.target.keys[0].key_id.endswith(".0"), "the very session that it had offered"


def test_nothing_is_used_before_the_other_end_has_it(end: Callable[..., End]) -> None:
    broken = Memory()
    broken.fails = True
    with whole_hour(), end("a", Memory()) as a, end("b", broken) as b:
        until(lambda: any("could not be put in place" in problem for problem in b.problems()))
        until(lambda: any("did not say that it is in place" in problem for problem in a.problems()))
        assert not a.target.keys
        broken.fails = False
        until(lambda: a.target.keys and b.target.keys)
    assert a.target.keys[-1].key == b.target.keys[-1].key


def test_a_file_has_the_key_and_the_one_before(tmp_path: Path) -> None:
    path, log = tmp_path / "tunnel.key", tmp_path / "log"
    note = "import os,sys; open(sys.argv[1],'a').write(os.environ['QKMS_KEY_ID']+'\\n')"
    target = FileTarget(path, "base64", (sys.executable, "-c", note, str(log)))
    first, second = (AgreedKey(f"t/{n}", bytes((n,)) * 32, "PQC") for n in (1, 2))
    target.install(first, initiates=False)
    target.install(first, initiates=False)
    target.install(second, initiates=False)
    assert base64.b64decode(path.read_bytes()) == second.key
    assert base64.b64decode(path.with_name("tunnel.key.previous").read_bytes()) == first.key
    assert {stat.S_IMODE(p.stat().st_mode) for p in tmp_path.glob("tunnel*")} == {0o600}
    assert log.read_text() == "t/1\nt/2\n", "once for each change"


def test_a_file_or_a_command_that_fails_is_told(tmp_path: Path) -> None:
    key = AgreedKey("t/1", bytes(32), "PQC")
    with pytest.raises(TargetFailed, match="check the folder"):
        FileTarget(tmp_path / "missing" / "key", "raw").install(key, initiates=False)
    with pytest.raises(TargetFailed, match="ended with status 3; the key is in place"):
        FileTarget(tmp_path / "key", "raw", (sys.executable, "-c", "raise SystemExit(3)")).install(
            key, initiates=False
        )


def test_both_ends_find_the_same_session_and_no_other_tunnel_does() -> None:
    here, there = Tunnel("t", OFFERING, JOINING), Tunnel("t", JOINING, OFFERING)
    assert (here.offers, there.offers) == (True, False)
    assert session_id(here, Turn(7, 1)) == session_id(there, Turn(7, 1))
    others = [
        session_id(here, Turn(7)),
        session_id(here, Turn(8, 1)),
        session_id(Tunnel("u", OFFERING, JOINING), Turn(7, 1)),
        session_id(Tunnel("t", OFFERING, "spiffe://qkms.dev/service/c"), Turn(7, 1)),
    ]
    assert len({session_id(here, Turn(7, 1)), *others}) == 5


def test_rotations_are_cut_at_multiples_of_the_period() -> None:
    assert [rotation_at(t, 10.0) for t in (0, 9.9, 10, 25)] == [0, 0, 1, 2]
    assert next_rotation_s(25.0, 10.0) == 5.0
