"""Use cases of AuditService, and the anchoring of this node's calls.

Reading files is work for a thread, never for the event loop. The loop `run`
registers the node's audit key and anchors the head of its calls, signed, in
each period in which there were any. A chain that no longer reaches its last
anchor is reported, and never anchored over.
"""

import asyncio
import uuid

import structlog

from qkms.audit import AuditPublicKey, Head, SignedHead, calls_genesis
from qkms_node.access.call_log import CallLog
from qkms_node.access.chain_files import lines_after
from qkms_node.access.guard import Guard
from qkms_node.access.spool import Spool
from qkms_node.config import Config
from qkms_node.errors import InvalidField, QkmsError
from qkms_node.ledger.access_records import AnchorRecord, AuditKeyRecord
from qkms_node.ledger.audit_rules import last_anchor
from qkms_node.ledger.commands import AnchorAudit, Outcome, RegisterAuditKey, Request
from qkms_node.service.audit_key import AuditKey, open_audit_key
from qkms_node.service.audit_reading import CALLS, Filter, Page, Window, call_page, mutation_page
from qkms_node.service.audit_verifying import Verdict, unreadable, verify_calls, verify_mutations
from qkms_node.service.freshness import LINEARIZABLE, Freshness, Wanted
from qkms_node.service.proposing import Proposer
from qkms_node.service.proposing import request as make_request
from qkms_node.service.reading import admit
from qkms_node.service.roots import RootStore
from qkms_node.service.seals.seal import SealError
from qkms_node.service.store import LedgerStore

log = structlog.get_logger(__name__)

FOLDER = "audit"
RETRY_S = 1.0


class Audit:
    """Reads, verifies and anchors the audit of this node."""

    def __init__(
        self,
        config: Config,
        guard: Guard,
        store: LedgerStore,
        roots: RootStore,
        proposer: Proposer,
        freshness: Freshness,
        calls: CallLog,
        spool: Spool,
    ) -> None:
        self._config = config
        self._guard = guard
        self._store = store
        self._roots = roots
        self._proposer = proposer
        self._freshness = freshness
        self._calls = calls
        self._spool = spool
        self._folder = config.node.data_dir / FOLDER
        self._key: AuditKey | None = None
        self._trouble = ""
        self._compared = False

    @property
    def node_id(self) -> str:
        """This node."""
        return self._config.node.id

    @property
    def failure(self) -> str:
        """What is wrong with the audit at this node; empty: nothing."""
        return self._calls.failure or self._spool.failure or self._trouble

    @property
    def refuses(self) -> bool:
        """Whether calls are refused because of it."""
        return bool(self._calls.failure) and self._config.audit.on_failure == "refuse"

    async def query(self, principal: str, chain: str, wanted: Filter, after: int, limit: int) -> Page:
        """Up to `limit` records after number `after`. Raises QkmsError."""
        self._guard.require(principal, "audit.query")
        try:
            return await asyncio.to_thread(self._page, chain, wanted, after, limit)
        except OSError as error:
            why = f"the audit of {self.node_id} {unreadable(error)}; mend what is in the way, or ask another node"
            raise QkmsError("AUDIT_UNAVAILABLE", why) from None

    async def verify(self, principal: str) -> list[Verdict]:
        """Checks this node's files against the ledger and its anchors."""
        self._guard.require(principal, "audit.verify")
        return await asyncio.to_thread(self._verify)

    def heads(self, principal: str) -> tuple[Head, SignedHead]:
        """The heads of mutations, and of this node's calls, signed if its key is open."""
        self._guard.require(principal, "audit.query")
        with self._store.view() as state:
            mutations = Head(state.audit_length, state.audit_head)
        head = self._calls.head
        signed = self._key.sign(head) if self._key else SignedHead(self.node_id, "", head, b"", b"")
        return mutations, signed

    async def anchors(
        self, principal: str, node_id: str, after: tuple[str, int], limit: int, wanted: Wanted
    ) -> tuple[list[AnchorRecord], list[AuditKeyRecord]]:
        """Up to `limit` anchors (of one node or all) after (key_id, length), and every audit key."""
        await admit(self._guard, self._freshness, wanted, principal, "audit.query")
        with self._store.view() as state:
            places = sorted(place for place in state.anchors if place > after)
            found = [state.anchors[place] for place in places]
            keys = sorted(state.audit_keys.values(), key=lambda key: (key.node_id, key.register_ms))
        return [anchor for anchor in found if not node_id or anchor.node_id == node_id][:limit], keys

    async def anchor(self, request: Request, node_id: str) -> Outcome:
        """Anchors this node's calls now; `node_id` must be this one. Raises QkmsError, AUDIT_BROKEN among others.

        Of a request that was answered before, any node tells the answer.
        """
        self._guard.require(request.principal, "audit.anchor")
        if node_id != self.node_id:
            await self._freshness.ensure(LINEARIZABLE)
            with self._store.view() as state:
                repeated = request.request_id in state.requests
            if not repeated:
                raise InvalidField("node_id", f"is {node_id[:80]!r}, and this is {self.node_id}; call that node")
        return await self._anchor(request)

    async def run(self) -> None:
        """Registers the key, anchors, and mends what failed, for ever."""
        anchor_s = self._config.audit.anchor_every_ms / 1000
        loop = asyncio.get_running_loop()
        due = loop.time() + anchor_s
        while True:
            try:
                self._mend_spool()
                await self._register()
                await self._compare_with_last_anchor()
                if loop.time() >= due:
                    due = loop.time() + anchor_s
                    await self._anchor_if_grown()
                self._trouble = ""
            except QkmsError as error:
                # A node without a quorum has no anchors, and needs no alarm of its own for that.
                if error.code in ("AUDIT_BROKEN", "AUDIT_KEY_UNKNOWN") and error.message != self._trouble:
                    self._trouble = error.message
                    log.error("audit.not_anchored", code=error.code, reason=error.message)
            except SealError as error:
                self._trouble = f"the audit key cannot be sealed or opened: {error}"
            except OSError as error:
                self._trouble = f"the audit key cannot be stored: {error.strerror}"
            await asyncio.sleep(min(RETRY_S, max(0.01, due - loop.time())))

    def _mend_spool(self) -> None:
        if self._spool.failure:
            with self._store.view():
                self._spool.start()

    async def _register(self) -> None:
        if self._key is None:
            self._key = open_audit_key(self._folder, self._roots, self._config.cluster.id, self.node_id)
        public = self._key.public
        with self._store.view() as state:
            known = public.key_id in state.audit_keys
        if not known:
            command = RegisterAuditKey(self.node_id, public.key_id, public.ed25519, public.mldsa65)
            await self._proposer.effect(command)

    async def _compare_with_last_anchor(self) -> None:
        """Once: a chain that was cut off while the node was down must not grow past what was anchored."""
        if self._compared:
            return
        assert self._key is not None
        await self._freshness.ensure(LINEARIZABLE)
        with self._store.view() as state:
            last = last_anchor(state, self._key.public.key_id)
        if last is not None:
            lines = lines_after(self._folder, CALLS, last.length - 1)
            line = await asyncio.to_thread(next, lines, None)
            if line is None or not line.text.endswith(last.head.hex().encode() + b'"}'):
                raise QkmsError(
                    "AUDIT_BROKEN",
                    f"this node anchored {last.length} records of its calls, and its files do not have them: they "
                    "were cut off or replaced; keep them, and move the audit folder aside to begin a new chain",
                    anchored=last.length,
                )
        self._compared = True

    async def _anchor_if_grown(self) -> None:
        assert self._key is not None
        with self._store.view() as state:
            last = last_anchor(state, self._key.public.key_id)
        head = self._calls.head
        if last is None or (head.length, head.digest) != (last.length, last.head):
            me = f"spiffe://{self._config.tls.trust_domain}/node/{self.node_id}"
            identifier = str(uuid.uuid4())
            await self._anchor(make_request(identifier, me, "anchor", identifier.encode()))

    async def _anchor(self, request: Request) -> Outcome:
        await self._register()
        await self._compare_with_last_anchor()
        assert self._key is not None
        signed = self._key.sign(self._calls.head)
        record = AnchorRecord(
            signed.node_id,
            signed.key_id,
            signed.head.length,
            signed.head.digest,
            signed.ed25519_signature,
            signed.mldsa65_signature,
        )
        return await self._proposer.effect(AnchorAudit(request, record))

    def _window(self) -> Window:
        with self._store.view() as state:
            base = Head(state.audit_length - len(state.audit), state.audit_base)
            return Window(base, list(state.audit), Head(state.audit_length, state.audit_head))

    def _page(self, chain: str, wanted: Filter, after: int, limit: int) -> Page:
        if chain == CALLS:
            return call_page(self._folder, self._calls_start(), self._calls.head, after, wanted, limit)
        return mutation_page(self._folder, self._window(), after, wanted, limit)

    def _verify(self) -> list[Verdict]:
        with self._store.view() as state:
            records = list(state.audit_keys.values())
            anchors = [signed(anchor) for anchor in state.anchors.values() if anchor.node_id == self.node_id]
        keys = {key.key_id: AuditPublicKey(key.ed25519_public, key.mldsa65_public) for key in records}
        if self._key is not None:
            # Chains that were moved aside were anchored under keys that were moved with them.
            anchors = [anchor for anchor in anchors if anchor.key_id == self._key.public.key_id]
        cluster = self._config.cluster.id
        return [
            verify_mutations(self._folder, self._window()),
            verify_calls(self._folder, cluster, self._calls_start(), self._calls.head, keys, anchors),
        ]

    def _calls_start(self) -> Head:
        return Head(0, calls_genesis(self._config.cluster.id, self.node_id))


def signed(anchor: AnchorRecord) -> SignedHead:
    """An anchor of the ledger as what was signed."""
    return SignedHead(
        anchor.node_id,
        anchor.key_id,
        Head(anchor.length, anchor.head),
        anchor.ed25519_signature,
        anchor.mldsa65_signature,
    )
