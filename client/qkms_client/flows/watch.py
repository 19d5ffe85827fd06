"""A watch that goes on at another node when one fails, without a gap.

Each batch is delivered before its resume token counts: who stops between two
events and starts again with the token sees the rest of the batch. Events that
a reconnect repeats are dropped, so one watch delivers each event once. A node
without contact to the quorum is left: its events would come late, not wrong.
"""

from datetime import timedelta

from qkms.v1 import key_pb2 as pb
from qkms_client import decode
from qkms_client.call import Rules
from qkms_client.errors import AnswerNotUnderstood, QkmsError, TooStale
from qkms_client.flow import Event, Flow, OpenStream, Pause, Receive
from qkms_client.methods import WATCH_KEYS
from qkms_client.retry import Verdict, verdict
from qkms_client.types import KeyEvent

MAX_LAG = timedelta(seconds=15)


class WatchState:
    """Where a watch is. `give_up_after`: seconds without any message; None: never."""

    def __init__(self, rules: Rules, name: str, resume_token: str | None, give_up_after: float | None) -> None:
        self._rules = rules
        self._name = name
        self._give_up_after = give_up_after
        self._delivered: set[KeyEvent] = set()
        self._revision = 0
        self._endpoint: str | None = None
        self._contact: float | None = None
        self._next_token = resume_token or ""
        self.resume_token = resume_token

    def begin(self) -> Flow[list[KeyEvent]]:
        """Opens the watch. On return everything that happens from now on will be delivered."""
        if self.resume_token is not None:
            return []
        return (yield from self.batch())

    def batch(self) -> Flow[list[KeyEvent]]:
        """The next events, none for a bookmark. Raises HistoryCompacted and other QkmsError."""
        while True:
            if self._endpoint is None:
                yield from self._connect()
            assert self._endpoint is not None
            event = yield Receive()
            response = event.response
            if event.error is None and isinstance(response, pb.WatchKeysResponse):
                return self._took(event, response, self._endpoint)
            self._failed(event, event.error or AnswerNotUnderstood("a watch was answered with another message"))

    def delivered(self) -> None:
        """All events of the batches so far have been given out."""
        self.resume_token = self._next_token or None

    def _connect(self) -> Flow[None]:
        now = (yield Pause(0)).time
        self._contact = now if self._contact is None else self._contact
        choice = self._rules.router.choose(now, mutation=False)
        if choice.wait > 0:
            yield Pause(choice.wait)
        request = pb.WatchKeysRequest(name=self._name, resume_token=self._next_token)
        yield OpenStream(choice.endpoint, WATCH_KEYS, request)
        self._endpoint = choice.endpoint

    def _took(self, event: Event, response: pb.WatchKeysResponse, endpoint: str) -> list[KeyEvent]:
        self._contact = event.time
        self._rules.served(endpoint, response.header)
        self._next_token = response.resume_token or self._next_token
        if not response.header.HasField("staleness") or decode.length(response.header.staleness) > MAX_LAG:
            self._leave(event.time, TooStale(f"{endpoint} has lost contact with the quorum"))
        return self._new([decode.event(e) for e in response.events])

    def _new(self, events: list[KeyEvent]) -> list[KeyEvent]:
        fresh = []
        for event in events:
            if event.revision < self._revision or event in self._delivered:
                continue
            if event.revision > self._revision:
                self._revision = event.revision
                self._delivered.clear()
            self._delivered.add(event)
            fresh.append(event)
        return fresh

    def _failed(self, event: Event, error: QkmsError) -> None:
        self._leave(event.time, error)
        silent = 0.0 if self._contact is None else event.time - self._contact
        if verdict(error) is Verdict.REFUSED:
            raise error
        if self._give_up_after is not None and silent >= self._give_up_after:
            raise error

    def _leave(self, now: float, error: QkmsError) -> None:
        if self._endpoint is not None:
            self._rules.failed(self._endpoint, now, error)
        self._endpoint = None
