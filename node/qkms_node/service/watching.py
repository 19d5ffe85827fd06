"""Watching keys: events in order of revision, from a resume token on.

A token names the revision up to which everything was delivered; it is opaque
to clients and valid at any node. Events come from the replicated history, so
a watch resumes on another node without a gap; each is delivered at least once.

There is no queue: the history is one, and each watcher has a position in it. A
watcher who does not read holds one delivery and delays nobody; when the history
has moved past it, it ends with HISTORY_COMPACTED. Watchers of one principal and
one filter at one position share one delivery.
"""

import base64
import binascii
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from qkms_node.access.guard import Guard
from qkms_node.errors import InvalidField, QkmsError
from qkms_node.ledger.records import EventRecord, EventType
from qkms_node.service.freshness import LINEARIZABLE, STALE_OK, Freshness
from qkms_node.service.reading import admit
from qkms_node.service.store import LedgerStore

BOOKMARK_S = 5.0
MAX_BATCH = 500
MAX_SHARED = 1_024
OF_ROOTS = frozenset(
    {
        EventType.ROOT_ACTIVATED,
        EventType.QKD_FELL_BACK,
        EventType.QKD_RESUMED,
        EventType.ROOT_REFUSED,
        EventType.ROOT_RELAYED,
        EventType.ROOT_QBER_RAISED,
    }
)
OF_LINKS = frozenset({EventType.LINK_ALARM_RAISED, EventType.LINK_ALARM_CLEARED})
_TOKEN = struct.Struct(">2sQ")
_MARK = b"w1"

_Position = tuple[str, str, int]


@dataclass(frozen=True, eq=False)
class Delivery:
    """Events, or none in a bookmark, and the token to resume after `complete`, the last revision looked at."""

    events: tuple[EventRecord, ...]
    resume_token: str
    complete: int


def token(revision: int) -> str:
    """The token that resumes after `revision`."""
    return base64.urlsafe_b64encode(_TOKEN.pack(_MARK, revision)).decode()


def revision_of(resume_token: str) -> int:
    """The inverse of `token`. Raises InvalidField."""
    try:
        mark, revision = _TOKEN.unpack(base64.urlsafe_b64decode(resume_token))
    except (binascii.Error, struct.error, ValueError) as error:
        raise InvalidField("resume_token", "is not one that a watch gave out") from error
    if mark != _MARK:
        raise InvalidField("resume_token", "is not one that a watch gave out")
    return int(revision)


class Watching:
    """Streams of events for one caller each."""

    # A watch follows this node's ledger, which may lag; order and completeness do not suffer.
    consistency = STALE_OK

    def __init__(self, guard: Guard, store: LedgerStore, freshness: Freshness) -> None:
        self._guard = guard
        self._store = store
        self._freshness = freshness
        self._closing = False
        self._shared: dict[_Position, Delivery] = {}
        self._shared_at = -1

    def close(self) -> None:
        """Ends every watch with SHUTTING_DOWN, so that its client resumes at another node at once."""
        self._closing = True
        self._store.wake()

    async def watch(self, principal: str, key_id: str, resume_token: str) -> AsyncIterator[Delivery]:
        """Deliveries for ever. Raises QkmsError, HISTORY_COMPACTED among others."""
        if resume_token:
            self._guard.require(principal, "keys.watch", key_id)
            after = revision_of(resume_token)
        else:
            await admit(self._guard, self._freshness, LINEARIZABLE, principal, "keys.watch", key_id)
            after = self._store.revision
            yield Delivery((), token(after), after)
        told = time.monotonic()
        while not self._closing:
            delivery, after = self._after(principal, key_id, after)
            if delivery.events or time.monotonic() - told >= BOOKMARK_S:
                yield delivery
            else:
                await self._grown(after, told + BOOKMARK_S - time.monotonic())
                continue
            told = time.monotonic()
        raise QkmsError("SHUTTING_DOWN", "this node is stopping; resume the watch at another node", 0.1)

    async def _grown(self, revision: int, timeout_s: float) -> None:
        await self._store.wait_for(lambda state: self._closing or state.revision > revision, timeout_s)

    def _after(self, principal: str, key_id: str, after: int) -> tuple[Delivery, int]:
        """What a caller may see after a revision, and the revision up to which that is complete."""
        revision = self._store.revision
        if revision != self._shared_at:
            # Whatever may be seen changes with the ledger only.
            self._shared, self._shared_at = {}, revision
        position = (principal, key_id, after)
        known = self._shared.get(position)
        if known is None:
            events, complete = self._since(after)
            visible = tuple(e for e in events if self._visible(principal, key_id, e))
            complete = max(after, complete)
            known = Delivery(visible, token(complete), complete)
            if complete <= revision and len(self._shared) < MAX_SHARED:
                self._shared[position] = known
        return known, known.complete

    def _since(self, after: int) -> tuple[list[EventRecord], int]:
        """Events after a revision and the revision up to which they are complete."""
        with self._store.view() as state:
            if after + 1 < state.first_event:
                raise QkmsError(
                    "HISTORY_COMPACTED",
                    f"events up to revision {state.first_event - 1} are no longer kept; list, then watch again",
                    oldest_revision=state.first_event,
                )
            events: list[EventRecord] = []
            for event in reversed(state.events):
                if event.revision <= after:
                    break
                events.append(event)
            events.reverse()
            complete = state.revision
        if len(events) > MAX_BATCH:
            # Never cut within one revision: the token could not tell the parts apart.
            cut = events[MAX_BATCH].revision
            events = [e for e in events if e.revision <= cut]
            complete = cut
        return events, complete

    def _visible(self, principal: str, key_id: str, event: EventRecord) -> bool:
        if event.type in OF_ROOTS:
            return not key_id
        if event.type in OF_LINKS:
            return not key_id and self._guard.allows(principal, "links.list")
        if event.type is EventType.MEMBER_CHANGED:
            return not key_id and self._guard.allows(principal, "cluster.status")
        name = event.name.removeprefix("keys/")
        return (not key_id or name == key_id) and self._guard.allows(principal, "keys.watch", name)
