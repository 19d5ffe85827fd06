"""Watching keys: events in order of revision, from a resume token on.

A token names the revision up to which everything was delivered; it is opaque
to clients and valid at any node. Events come from the replicated history, so
a watch resumes on another node without a gap; each is delivered at least once.
"""

import base64
import binascii
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass

from qkms_node.access.guard import Guard
from qkms_node.errors import InvalidField, QkmsError
from qkms_node.ledger.records import EventRecord, EventType
from qkms_node.service.freshness import LINEARIZABLE, STALE_OK, Freshness
from qkms_node.service.store import LedgerStore

BOOKMARK_S = 5.0
MAX_BATCH = 500
_TOKEN = struct.Struct(">2sQ")
_MARK = b"w1"


@dataclass(frozen=True)
class Delivery:
    """Events, or none in a bookmark, and the token to resume after them."""

    events: tuple[EventRecord, ...]
    resume_token: str


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

    def close(self) -> None:
        """Ends every watch with SHUTTING_DOWN, so that its client resumes at another node at once."""
        self._closing = True
        self._store.wake()

    async def watch(self, principal: str, key_id: str, resume_token: str) -> AsyncIterator[Delivery]:
        """Deliveries for ever. Raises QkmsError, HISTORY_COMPACTED among others."""
        self._guard.require(principal, "keys.watch", key_id)
        if resume_token:
            after = revision_of(resume_token)
        else:
            await self._freshness.ensure(LINEARIZABLE)
            after = self._store.revision
            yield Delivery((), token(after))
        while not self._closing:
            events, seen = self._since(after)
            visible = tuple(e for e in events if self._visible(principal, key_id, e))
            after = max(after, seen)
            if visible:
                yield Delivery(visible, token(after))
            elif not events and not await self._grown(seen):
                yield Delivery((), token(after))
        raise QkmsError("SHUTTING_DOWN", "this node is stopping; resume the watch at another node", 0.1)

    async def _grown(self, revision: int) -> bool:
        return await self._store.wait_for(lambda state: self._closing or state.revision > revision, BOOKMARK_S)

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
        if event.type is EventType.ROOT_ACTIVATED:
            return not key_id
        if event.type is EventType.MEMBER_CHANGED:
            return not key_id and self._guard.allows(principal, "cluster.status")
        name = event.name.removeprefix("keys/")
        return (not key_id or name == key_id) and self._guard.allows(principal, "keys.watch", name)
