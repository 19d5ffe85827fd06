"""One end of a tunnel: agrees on a key for each rotation and puts it in place, the joining end first.

    offering end                              joining end
    offers a session           ---- KMS ---->  joins it; both confirm that they hold the same key
                                               installs the key, then closes the session
    sees it closed, installs the key

Two phases: a key is installed only when both ends are known to hold it, and the offering end, which begins to use
it, only when the other has it in place. An end that fails or dies before it has installed leaves the session open;
the attempt is given up and the next one agrees on another key. Until then the key before serves on at both ends,
or, where only the joining end had installed, at most what is under way does.

Ordering: nothing is installed before the session is confirmed; the session is closed after the installation.
Leaves out the tunnel itself (see `target`), and who may talk to whom: that is the cluster's policy.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from threading import Event
from typing import Any

from qkms_client.agent.rotation import AgreedKey, Tunnel, Turn, key_of, next_rotation_s, rotation_at, session_id
from qkms_client.agent.target import Target, TargetFailed
from qkms_client.errors import QkmsError, SessionExists, SessionNotEstablished, SessionNotFound
from qkms_client.pending import PendingSession
from qkms_client.sync.client import Client
from qkms_client.types import Grade, SessionState

LOOK_S = 0.25
"""Between two looks at a session that the other end is to close, or to offer."""
IDLE_LOOK_S = 5.0
"""Between two looks for another attempt once a rotation is done."""
ATTEMPTS = 64
"""Of one rotation at most."""
MAX_TTL_S = 86_400.0

Told = Callable[..., None]


class GaveUp(Exception):
    """An attempt came to nothing; the message says why. The next one follows."""

    code = "ATTEMPT_FAILED"


class Agent:
    """Runs one end until `stop` is set. `told` hears what happens, as an event and fields, never a key.

    `attempt_s`: how long the other end has for its part of an attempt.
    """

    def __init__(
        self,
        client: Client,
        tunnel: Tunnel,
        target: Target,
        *,
        period_s: float,
        attempt_s: float = 15.0,
        required_grade: Grade | None = None,
        told: Told = lambda *_, **__: None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._tunnel = tunnel
        self._target = target
        self._period_s = period_s
        self._attempt_s = attempt_s
        self._grade = required_grade
        self._told = told
        self._now_s = now_s
        self._turn = Turn(-1)
        self._done = False
        self._pending: PendingSession | None = None
        self._problem = ""
        self.stop = Event()

    @property
    def offers(self) -> bool:
        """Whether this end offers the sessions, and so begins to use a key."""
        return self._tunnel.offers

    def run(self) -> None:
        """Rotates until told to stop."""
        while not self.stop.is_set():
            self.step()

    def step(self) -> None:
        """One attempt, or one wait."""
        rotation = rotation_at(self._now_s(), self._period_s)
        if rotation != self._turn.rotation:
            self._go_to(Turn(rotation))
            self._done = False
        if self._turn.attempt >= ATTEMPTS or (self._done and self._tunnel.offers):
            self._rest()
            return
        try:
            key = self._offer() if self._tunnel.offers else self._join()
        except GaveUp as reason:
            self._say("attempt_failed", problem=str(reason))
            self._go_to(self._turn.next_attempt())
            self.stop.wait(LOOK_S)
        except QkmsError as error:
            self._wait(error.reason, error.message)
        else:
            if key is not None:
                self._say("installed", key_id=key.key_id, grade=key.grade)
                self._done, self._problem = True, ""
                if not self._tunnel.offers:
                    self._go_to(self._turn.next_attempt())

    def _rest(self) -> None:
        self.stop.wait(min(next_rotation_s(self._now_s(), self._period_s), IDLE_LOOK_S))

    def _go_to(self, turn: Turn) -> None:
        self._turn, self._pending = turn, None

    def _wait(self, code: str, problem: str) -> None:
        """Says once what it waits for."""
        if problem != self._problem:
            self._problem = problem
            self._say("waiting", code=code, problem=problem)
        self.stop.wait(min(self._attempt_s, 1.0))

    # The end that offers.

    def _offer(self) -> AgreedKey | None:
        tunnel, turn = self._tunnel, self._turn
        self._pending = self._pending or PendingSession(session_id(tunnel, turn))
        try:
            established = self._client.open_session(
                tunnel.peer,
                session=self._pending,
                required_grade=self._grade,
                ttl=timedelta(seconds=min(max(2 * self._period_s, 60.0), MAX_TTL_S)),
                timeout=self._attempt_s,
            )
        except SessionExists:
            # From before a restart of this end: its part of it is lost.
            self._go_to(turn.next_attempt())
            return None
        except SessionNotEstablished as error:
            if self._client.get_session(session_id(tunnel, turn)).state is SessionState.OFFERED:
                self._wait(error.reason, f"{tunnel.peer} has not joined yet; does its agent run?")
                return None
            raise GaveUp(f"{tunnel.peer} did not take up the key: {error.message}") from error
        key = key_of(established, tunnel, turn)
        self._wait_installed()
        self._install(key, initiates=True)
        return key

    def _wait_installed(self) -> None:
        deadline = time.monotonic() + self._attempt_s
        identifier = session_id(self._tunnel, self._turn)
        while self._client.get_session(identifier).state is not SessionState.CLOSED:
            if time.monotonic() > deadline or self.stop.wait(LOOK_S):
                raise GaveUp(f"{self._tunnel.peer} holds the key and did not say that it is in place")

    # The end that joins.

    def _join(self) -> AgreedKey | None:
        tunnel, turn = self._tunnel, self._turn
        identifier = session_id(tunnel, turn)
        try:
            state = self._client.get_session(identifier).state
        except SessionNotFound:
            if self._done:
                self._rest()
            else:
                self.stop.wait(LOOK_S)
            return None
        if state is not SessionState.OFFERED:
            self._go_to(turn.next_attempt())
            return None
        try:
            established = self._client.join_session(
                identifier, initiator=tunnel.peer, required_grade=self._grade, timeout=self._attempt_s
            )
        except QkmsError as error:
            raise GaveUp(f"the session that {tunnel.peer} offered came to nothing: {error}") from error
        key = key_of(established, tunnel, turn)
        self._install(key, initiates=False)
        self._client.close_session(identifier)
        return key

    def _install(self, key: AgreedKey, *, initiates: bool) -> None:
        try:
            self._target.install(key, initiates=initiates)
        except TargetFailed as error:
            raise GaveUp(f"the key could not be put in place: {error}") from error

    def _say(self, event: str, **fields: Any) -> None:
        self._told(event, tunnel=self._tunnel.name, turn=str(self._turn), **fields)
