"""QKD keys for the traffic between members: who dialled draws one, who accepted collects it, both then use it.

    dialled                                accepted
    KeyOffer(key_ID, nonce, proof)  ---->  collects the key, checks the proof
                                    <----  KeyAnswer(key_ID, nonce)
    sealed frames                   ---->

Two ends whose KMEs gave them different keys under one key_ID find out by the proof, and do without that key.

A key outlives a connection, with fresh nonces on each, so that a link that flaps spends none; a member that
lost it in a restart says so, and another is drawn. It is replaced in time, or by the amount that was sealed under
it; while none can be had the old one serves on. Not forced on a peer that has none, unless `required` (settings).

Runs on the engine's thread. `PeerKeys` works elsewhere and answers by a queue that `poll` empties. Ordering: an
answer is sent before the first frame under its key can arrive, and a key is kept by who accepted from then on.
"""

import os
import queue
import random
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Protocol

from qkms_node.consensus.connection import Connection
from qkms_node.consensus.dialling import Backoff
from qkms_node.consensus.identity import PeerRefused
from qkms_node.consensus.messages import KeyAnswer, KeyOffer, LinkMessage
from qkms_node.consensus.peer_keys import Drawn, PeerKeys
from qkms_node.consensus.settings import LinkSealing
from qkms_node.keys.node_link import NONCE_BYTES, LinkCipher, key_proof
from qkms_node.keys.secret import QkdSecret

_KEPT = 2  # keys of a peer: the one in use and the one that replaces it


class Owner(Protocol):
    """Who has the connections."""

    def tell(self, connection: Connection, message: LinkMessage) -> None: ...
    def sealed(self, peer: str) -> None: ...
    def wake(self) -> None: ...


@dataclass
class _Held:
    """A key that this member drew. `taken_up`: the peer had it once."""

    drawn: Drawn
    since: float
    taken_up: bool = False


@dataclass
class _Offer:
    held: _Held
    nonce: bytes
    deadline: float


@dataclass
class _Peer:
    """`held` seals, or is offered to seal, what goes to the peer; `known` opens what comes from it."""

    backoff: Backoff
    held: _Held | None = None
    drawing: bool = False
    problem: str = ""
    dialled: Connection | None = None
    offer: _Offer | None = None
    active: _Held | None = None
    known: OrderedDict[str, QkdSecret] = field(default_factory=OrderedDict)
    collecting: tuple[Connection, KeyOffer] | None = None
    accepted: Connection | None = None  # with a key to open what arrives


class LinkKeys:
    """The keys of all links of the member `node_id`."""

    def __init__(
        self,
        node_id: str,
        cluster_id: str,
        settings: LinkSealing,
        keys: PeerKeys,
        owner: Owner,
        report: Callable[..., None],
    ) -> None:
        self._id = node_id
        self._cluster_id = cluster_id
        self.settings = settings
        self._keys = keys
        self._owner = owner
        self._report = report
        self._rng = random.Random()  # noqa: S311  # only spreads attempts in time
        self._peers: dict[str, _Peer] = {}
        self._finished: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.both_ways: frozenset[str] = frozenset()
        """The peers to and from whom everything is under a QKD key."""

    def greeted(self, connection: Connection, peer: str) -> None:
        """The peer that was dialled has answered: its key may be agreed on."""
        state = self._of(peer)
        state.dialled, state.offer, state.active = connection, None, None
        self._advance(peer, state, time.monotonic())

    def lost(self, connection: Connection) -> None:
        """Nothing is sealed or opened on this connection any more."""
        state = self._peers.get(connection.peer or "")
        if state is None:
            return
        if state.dialled is connection:
            state.dialled = state.offer = state.active = None
        if state.accepted is connection:
            state.accepted = None
        self._note()

    def forget(self, peer: str) -> None:
        """It is no member any more."""
        state = self._peers.pop(peer, None)
        if state is not None:
            for secret in state.known.values():
                secret.wipe()
            for held in (state.held, state.active):
                if held is not None:
                    held.drawn.secret.wipe()
            self._note()

    def poll(self, now: float) -> float:
        """Takes in what was drawn and collected, asks for what is due; returns when the next is due."""
        while not self._finished.empty():
            self._finished.get()()
        return min((self._advance(peer, state, now) for peer, state in self._peers.items()), default=float("inf"))

    def received(self, connection: Connection, peer: str, message: LinkMessage) -> None:
        """An offer or an answer. Raises PeerRefused when it does not belong on the connection."""
        if isinstance(message, KeyOffer) and connection.accepted:
            self._offered(connection, peer, message)
        elif isinstance(message, KeyAnswer) and connection is self._of(peer).dialled:
            self._answered(connection, peer, message)
        else:
            raise PeerRefused("an offer or answer of a key that does not belong on this connection")

    # Who dialled.

    def _advance(self, peer: str, state: _Peer, now: float) -> float:
        """Does what is due for what goes to the peer; returns when to look again."""
        connection, offer, held = state.dialled, state.offer, state.held
        if connection is None:
            return float("inf")
        if offer is not None:
            if now < offer.deadline:
                return offer.deadline
            self._failed(peer, state, "the peer did not say whether it has the key")
            state.offer, state.held = None, state.active
            held = state.held
        if held is not None and state.active is not held:
            self._make_offer(peer, state, connection, held, now)
            return now + self.settings.answer_s
        end = held.since + self.settings.rekey_s if held is not None else now
        if now < end and connection.sealing.bytes < self.settings.rekey_bytes:
            return end
        return self._draw(peer, state, now)

    def _draw(self, peer: str, state: _Peer, now: float) -> float:
        if state.drawing:
            return float("inf")
        if now < state.backoff.due_at:
            return state.backoff.due_at
        state.drawing = True

        def done(found: Drawn | str) -> None:
            self._later(lambda: self._drawn(peer, state, found))

        self._keys.draw(peer, done)
        return float("inf")

    def _drawn(self, peer: str, state: _Peer, found: Drawn | str) -> None:
        state.drawing = False
        if isinstance(found, str):
            self._failed(peer, state, found)
            return
        state.held = _Held(found, time.monotonic())

    def _make_offer(self, peer: str, state: _Peer, connection: Connection, held: _Held, now: float) -> None:
        nonce = os.urandom(NONCE_BYTES)
        state.offer = _Offer(held, nonce, now + self.settings.answer_s)
        proof = self._proof(held.drawn, self._id, peer, nonce)
        self._owner.tell(connection, KeyOffer(held.drawn.key_id, nonce, proof))

    def _answered(self, connection: Connection, peer: str, answer: KeyAnswer) -> None:
        state = self._of(peer)
        offer, state.offer = state.offer, None
        if offer is None or offer.held.drawn.key_id != answer.key_id:
            raise PeerRefused("an answer about a key that was not offered")
        if answer.problem:
            if not offer.held.taken_up:
                self._failed(peer, state, f"the peer says: {answer.problem[:200]}")
            # Else it has lost the key, as in a restart: that is no reason to wait.
            if state.held is offer.held:
                state.held = state.active
            return
        connection.sealing.change(
            self._cipher(offer.held.drawn, self._id, peer, offer.nonce, _whole(answer.nonce))
        )
        before, state.active = state.active, offer.held
        offer.held.taken_up = True
        if before is not None and before is not offer.held:
            before.drawn.secret.wipe()
        state.backoff.reset(time.monotonic())
        state.problem = ""
        self._report("consensus.link_sealed", peer=peer, key_id=answer.key_id)
        self._note()
        self._owner.sealed(peer)

    def _failed(self, peer: str, state: _Peer, problem: str) -> None:
        """Waits before the next attempt; the key in use, if there is one, serves on."""
        state.backoff.failed(time.monotonic())
        if problem != state.problem:
            state.problem = problem
            self._report("consensus.link_key_missing", peer=peer, problem=problem)

    # Who accepted.

    def _offered(self, connection: Connection, peer: str, offer: KeyOffer) -> None:
        state = self._of(peer)
        secret = state.known.get(offer.key_id)
        if secret is not None:
            self._accept(connection, peer, offer, secret)
            return
        if state.collecting is not None:
            if state.collecting[1].key_id != offer.key_id:
                self._owner.tell(connection, KeyAnswer(offer.key_id, b"", "it still collects another key"))
                return
            state.collecting = connection, offer
            return
        state.collecting = connection, offer

        def done(found: QkdSecret | str) -> None:
            self._later(lambda: self._collected(peer, state, found))

        self._keys.collect(peer, offer.key_id, done)

    def _collected(self, peer: str, state: _Peer, found: QkdSecret | str) -> None:
        assert state.collecting is not None
        (connection, offer), state.collecting = state.collecting, None
        if not isinstance(found, str):
            state.known[offer.key_id] = found
            while len(state.known) > _KEPT:
                state.known.popitem(last=False)[1].wipe()
        if connection.closed:
            return
        if isinstance(found, str):
            self._owner.tell(connection, KeyAnswer(offer.key_id, b"", found))
        else:
            self._accept(connection, peer, offer, found)

    def _accept(self, connection: Connection, peer: str, offer: KeyOffer, secret: QkdSecret) -> None:
        state = self._of(peer)
        if not compare_digest(self._proof(Drawn(offer.key_id, secret), peer, self._id, offer.nonce), offer.proof):
            state.known.pop(offer.key_id).wipe()
            problem = f"{self._id} holds another key under key_ID {offer.key_id}: a KME has delivered a wrong one"
            self._owner.tell(connection, KeyAnswer(offer.key_id, b"", problem))
            return
        state.known.move_to_end(offer.key_id)
        nonce = os.urandom(NONCE_BYTES)
        connection.opening.expect(self._cipher(Drawn(offer.key_id, secret), peer, self._id, offer.nonce, nonce))
        state.accepted = connection
        self._owner.tell(connection, KeyAnswer(offer.key_id, nonce, ""))
        self._note()

    def _cipher(
        self, drawn: Drawn, sender: str, receiver: str, sender_nonce: bytes, receiver_nonce: bytes
    ) -> LinkCipher:
        return LinkCipher(
            drawn.secret,
            cluster_id=self._cluster_id,
            sender=sender,
            receiver=receiver,
            key_id=drawn.key_id,
            sender_nonce=sender_nonce,
            receiver_nonce=receiver_nonce,
        )

    def _proof(self, drawn: Drawn, sender: str, receiver: str, sender_nonce: bytes) -> bytes:
        return key_proof(
            drawn.secret,
            cluster_id=self._cluster_id,
            sender=sender,
            receiver=receiver,
            key_id=drawn.key_id,
            sender_nonce=sender_nonce,
        )

    def _later(self, work: Callable[[], None]) -> None:
        self._finished.put(work)
        self._owner.wake()

    def _of(self, peer: str) -> _Peer:
        state = self._peers.get(peer)
        if state is None:
            backoff = Backoff(self.settings.retry_min_s, self.settings.retry_max_s, self._rng)
            state = self._peers[peer] = _Peer(backoff)
        return state

    def _note(self) -> None:
        self.both_ways = frozenset(
            peer for peer, state in self._peers.items() if state.active is not None and state.accepted is not None
        )


def _whole(nonce: bytes) -> bytes:
    if len(nonce) != NONCE_BYTES:
        raise PeerRefused(f"an answer with a nonce of {len(nonce)} bytes, not {NONCE_BYTES}")
    return nonce
