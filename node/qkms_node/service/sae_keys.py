"""Use cases of the northbound face: keys for pairs of SAEs, drawn at one node and collected at any.

A key is random and made for one draw: it is in no store that a second draw could take it from. The ledger holds
it sealed, and says who has had it. The order that matters: a key is opened before a collection is proposed, so
that a node that cannot open it consumes nothing, and given out only when the collection is committed, so that of
two nodes asked at once one gives it. A proposal whose outcome is unknown is repeated with its request id; when it
stays unknown, nothing is given out. Leaves out HTTP, and which SAE a certificate speaks for: see `northbound`.
"""

import asyncio
import secrets
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from urllib.parse import quote

from qkms_node.access.guard import Guard
from qkms_node.errors import QkmsError
from qkms_node.keys.grade import Grade, satisfies
from qkms_node.keys.sae_key import SaeKeyBinding, open_sae_key, seal_sae_key
from qkms_node.ledger.commands import CollectSaeKeys, DrawSaeKeys, NewSaeKey
from qkms_node.ledger.records import RootRecord
from qkms_node.ledger.sae_records import SaeKeyRecord
from qkms_node.ledger.sae_rules import collectable, waiting_keys
from qkms_node.service.freshness import LINEARIZABLE, Freshness
from qkms_node.service.proposing import Proposer, request
from qkms_node.service.roots import RootStore
from qkms_node.service.store import LedgerStore

DRAW, COLLECT, ENTROPY = "northbound.draw", "northbound.collect", "northbound.entropy"
PROPOSALS = 3
"""How often a draw is begun anew that a new root epoch overtook."""
PATIENCE_S = 4.0
"""No attempt begins later than this after the first."""
UNDECIDED = frozenset({"OUTCOME_UNKNOWN", "NOT_COMMITTED"})
GRADE_RETRY_S = 5.0
UNKNOWN = 0
"""The grade where there is no key to have one."""


@dataclass(frozen=True)
class SaeKeyLimits:
    """`waiting`: keys of a pair that may be held at once; `ttl_ms`: how long one is held."""

    waiting: int
    ttl_ms: int


@dataclass(frozen=True, repr=False)
class SaeKey:
    """One key in clear, on its way to a party."""

    key_id: str
    key: bytes
    grade: Grade
    epoch: int
    expire_ms: int = 0

    def __repr__(self) -> str:
        return f"SaeKey({self.key_id}, <{len(self.key) * 8} bits redacted>)"


def pair_name(master: str, slave: str) -> str:
    """The resource that rules are about: `saePairs/{master}/{slave}`, an id's slashes and spaces as in a URL."""
    return f"saePairs/{quote(master, safe='@:')}/{quote(slave, safe='@:')}"


class SaeKeys:
    """Draws and collections, each decided by policy on the pair."""

    def __init__(
        self,
        guard: Guard,
        store: LedgerStore,
        roots: RootStore,
        proposer: Proposer,
        freshness: Freshness,
        limits: SaeKeyLimits,
    ) -> None:
        self._guard = guard
        self._store = store
        self._roots = roots
        self._proposer = proposer
        self._freshness = freshness
        self._limits = limits

    def room(self, principal: str, master: str, slave: str) -> tuple[int, Grade | None]:
        """How many keys may be drawn now, and of which grade; 0 and None without a root. Raises QkmsError."""
        with self._store.view() as state:
            root = state.roots.get(state.active_epoch)
            waiting = waiting_keys(state, master, slave)
        self._require(principal, DRAW, pair_name(master, slave), root.grade if root else UNKNOWN)
        if root is None or not self._roots.holds(root):
            return 0, None
        return self._limits.waiting - waiting, root.grade

    def may_share(self, principal: str, caller: str, other: str) -> bool:
        """Whether policy lets the caller draw keys for the other, or collect those that it draws."""
        return any(
            self._guard.allows(principal, action, pair, grade)
            for action, pair in ((DRAW, pair_name(caller, other)), (COLLECT, pair_name(other, caller)))
            for grade in Grade
        )

    async def draw(
        self,
        principal: str,
        master: str,
        slaves: tuple[str, ...],
        number: int,
        size_bits: int,
        required: Grade | None = None,
    ) -> list[SaeKey]:
        """`number` fresh keys, held for every slave. Raises QkmsError; nobody then ever gets them as master."""
        for _ in range(PROPOSALS):
            with self._store.view() as state:
                root = state.active_root()
            pairs = [pair_name(master, slave) for slave in slaves]
            for pair in pairs:
                self._require(principal, DRAW, pair, root.grade)
            self._require_grade(root.grade, required)
            drawn = [
                SaeKey(str(uuid.uuid4()), secrets.token_bytes(size_bits // 8), root.grade, root.epoch)
                for _ in range(number)
            ]
            command = DrawSaeKeys(
                request=request(str(uuid.uuid4()), principal, DRAW, b""),
                master=master,
                slaves=slaves,
                size_bits=size_bits,
                epoch=root.epoch,
                new_keys=self._sealed(drawn, master, slaves, root),
                max_waiting=self._limits.waiting,
                ttl_ms=self._limits.ttl_ms,
            )
            try:
                await self._effect(command, partial(self._still, principal, DRAW, pairs, [root.grade]))
            except QkmsError as error:
                if error.code != "EPOCH_CONFLICT":
                    raise
                await self._freshness.ensure(LINEARIZABLE)
            else:
                return drawn
        raise QkmsError("ROOT_NOT_READY", "the root epoch changes too often to draw under it", retry_after_s=1.0)

    async def collect(self, principal: str, master: str, slave: str, key_ids: Sequence[str]) -> list[SaeKey]:
        """The keys of these ids, in this order, given to this slave now and never again. Raises QkmsError."""
        pair = pair_name(master, slave)
        with self._store.view() as state:
            here = [state.sae_keys.get(key_id) for key_id in key_ids]
        grades: set[int] = {record.grade for record in here if record is not None}
        for grade in grades or {UNKNOWN}:
            self._require(principal, COLLECT, pair, grade)
        if None in here:
            # Drawn at another node a moment ago, perhaps.
            await self._freshness.ensure(LINEARIZABLE)
        with self._store.view() as state:
            records = collectable(state, master, slave, key_ids)
            roots = {record.epoch: state.roots[record.epoch] for record in records}
        decide = partial(self._still, principal, COLLECT, [pair], {record.grade for record in records})
        decide()
        opened = [self._opened(record, roots[record.epoch]) for record in records]
        asked = request(str(uuid.uuid4()), principal, COLLECT, b"")
        await self._effect(CollectSaeKeys(asked, master, slave, tuple(key_ids)), decide)
        return opened

    def entropy(self, principal: str, size_bytes: int) -> bytes:
        """Random bytes of this node. Raises QkmsError."""
        self._guard.require(principal, ENTROPY)
        return secrets.token_bytes(size_bytes)

    def _sealed(
        self, drawn: Sequence[SaeKey], master: str, slaves: tuple[str, ...], root: RootRecord
    ) -> tuple[NewSaeKey, ...]:
        kek = self._roots.kek(root)
        bound = [SaeKeyBinding(each.key_id, master, slaves, root.epoch) for each in drawn]
        return tuple(
            NewSaeKey(b.key_id, seal_sae_key(kek, each.key, b)) for each, b in zip(drawn, bound, strict=True)
        )

    def _opened(self, record: SaeKeyRecord, root: RootRecord) -> SaeKey:
        bound = SaeKeyBinding(record.key_id, record.master, record.slaves, record.epoch)
        key = open_sae_key(self._roots.kek(root), record.sealed, bound)
        return SaeKey(record.key_id, key, record.grade, record.epoch, record.expire_ms)

    def _require(self, principal: str, action: str, pair: str, grade: int) -> None:
        """As the guard, but a pair that rules allow at another grade is refused for its grade, which may pass."""
        try:
            self._guard.require(principal, action, pair, grade=grade)
        except QkmsError as error:
            wanted = [each for each in Grade if self._guard.allows(principal, action, pair, each)]
            if error.code != "PERMISSION_DENIED" or not wanted:
                raise
            raise QkmsError(
                "GRADE_TOO_LOW",
                f"policy asks for a grade of {' or '.join(each.name for each in wanted)} on {pair}; "
                f"keys have {Grade(grade).name if grade else 'none'} now",
                retry_after_s=GRADE_RETRY_S,
            ) from error

    def _still(self, principal: str, action: str, pairs: Iterable[str], grades: Iterable[int]) -> None:
        """As `_require`, for what was admitted before."""
        for pair, grade in product(pairs, grades):
            self._guard.still(principal, action, pair, grade=grade)

    def _require_grade(self, grade: Grade, required: Grade | None) -> None:
        if not satisfies(grade, required):
            raise QkmsError(
                "GRADE_NOT_MET",
                f"the root has grade {grade.name}, the request asks for {required}",
                grade=grade.name,
            )

    async def _effect(self, command: DrawSaeKeys | CollectSaeKeys, decide: Callable[[], None]) -> None:
        """Proposes until the outcome is known or the time is up; each time anew, policy decides again.

        Once an attempt has ended OUTCOME_UNKNOWN, only an outcome of the same request makes it known: that a
        later attempt was not committed says nothing of the first. Raises QkmsError.
        """
        until = time.monotonic() + PATIENCE_S
        unknown: QkmsError | None = None
        while True:
            try:
                await self._proposer.effect(command)
            except QkmsError as error:
                unknown = error if error.code == "OUTCOME_UNKNOWN" else unknown
                repeats = error.code in UNDECIDED or (error.code == "NO_QUORUM" and unknown is not None)
                if not repeats:
                    raise
                if time.monotonic() > until:
                    raise unknown or error from None
                await asyncio.sleep(error.retry_after_s or 0.0)
                decide()
            else:
                return
