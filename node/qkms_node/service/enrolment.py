"""Certificates for others: a new node's first against its token, a member's next against its present one.

A node without the CA's key passes a token's request on, whole, to one that
has it: the token is the authority, so nothing need be believed of whoever
passes it on. A renewal is asked for by the member itself, at a node that may
sign. The order at a token: judge request and token, sign, then record token
and certificate in one entry; what the entry refuses was never handed out.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec
import structlog
import tomli_w
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from qkms_node.ca import SigningCa
from qkms_node.config import Config
from qkms_node.csr import CsrRefused, check_csr, hosts_of, node_uri
from qkms_node.errors import InvalidField, QkmsError
from qkms_node.ledger.commands import Outcome, RedeemToken, Request
from qkms_node.ledger.join_rules import check_token
from qkms_node.ledger.member_records import MemberRecord
from qkms_node.service.freshness import LINEARIZABLE, Freshness
from qkms_node.service.members import Members
from qkms_node.service.proposing import Proposer
from qkms_node.service.store import LedgerStore

log = structlog.get_logger(__name__)

SHARED_SECTIONS = ("root", "access", "audit", "limits")
"""Sections of a node's configuration that every node of the cluster has alike; none holds a secret or a path."""


@dataclass(frozen=True)
class Application:
    """What a new node sends: its token (32 bytes) and its request (DER)."""

    request_id: str
    node_id: str
    token: bytes
    csr: bytes

    def __repr__(self) -> str:
        return f"Application({self.node_id})"


class Signers(Protocol):
    """The other nodes, of which some may sign."""

    async def enrol(self, application: Application) -> bytes:
        """The certificate (DER) that a node which may sign gave. Raises QkmsError."""
        ...

    async def renew(self, csr: bytes) -> bytes:
        """A new certificate (DER) for this node. Raises QkmsError."""
        ...


class Enrolment:
    """Hands out certificates; `ca` is None at a node that may not sign."""

    def __init__(
        self,
        config: Config,
        members: Members,
        ca: SigningCa | None,
        signers: Signers,
        store: LedgerStore,
        proposer: Proposer,
        freshness: Freshness,
        now_ms: Callable[[], int],
    ) -> None:
        self._config = config
        self._domain = config.tls.trust_domain
        self._members = members
        self._ca = ca
        self._signers = signers
        self._store = store
        self._proposer = proposer
        self._freshness = freshness
        self._now_ms = now_ms

    async def enrol(self, request: Request, application: Application, *, pass_on: bool) -> tuple[bytes, bool]:
        """The certificate (DER) for a token, and whether it was given before. Raises QkmsError."""
        await self._freshness.ensure(LINEARIZABLE)
        node_id, csr = application.node_id, application.csr
        token_hash, csr_hash = hashlib.sha256(application.token).digest(), hashlib.sha256(csr).digest()
        with self._store.view() as state:
            token = check_token(state, node_id, token_hash, csr_hash, max(self._now_ms(), state.time_ms))
            member = state.members.get(node_id)
        if token.csr_hash:
            return token.certificate, True
        if member is None:
            raise _not_a_member(node_id)
        hosts = _hosts(member)
        key = self._judged(csr, node_id, hosts)
        if self._ca is None:
            if not pass_on:
                raise _ca_not_here(self._config.node.id)
            return await self._signers.enrol(application), False
        certificate = self._ca.sign(key, self._domain, node_id, hosts)
        outcome: Outcome = await self._proposer.effect(
            RedeemToken(request, node_id, token_hash, csr_hash, certificate)
        )
        log.info("enrolment.certificate_given", member=node_id, note=outcome.note)
        return outcome.certificate, outcome.replayed or not outcome.changed

    async def renew_own(self, csr: bytes) -> bytes:
        """A new certificate (DER) for this node: of the CA here, or of another node. Raises QkmsError."""
        if self._ca is None:
            return await self._signers.renew(csr)
        return self.renew(
            node_uri(self._domain, self._config.node.id), self._config.tls.certificate.read_bytes(), csr
        )

    def renew(self, principal: str, present_pem: bytes, csr: bytes) -> bytes:
        """A new certificate (DER), with the names of the present one. Raises QkmsError."""
        if self._ca is None:
            raise _ca_not_here(self._config.node.id)
        node_id = principal.removeprefix(node_uri(self._domain, ""))
        with self._store.view() as state:
            is_member = node_id in self._members.of(state)
        if principal != node_uri(self._domain, node_id) or not is_member:
            raise _not_a_member(principal)
        try:
            hosts = hosts_of(present_pem)
        except CsrRefused as refusal:
            raise InvalidField("csr", str(refusal), CsrRefused.code) from None
        certificate = self._ca.sign(self._judged(csr, node_id, hosts), self._domain, node_id, hosts)
        log.info("enrolment.certificate_renewed", member=node_id)
        return certificate

    def shared_config(self) -> str:
        """What a new node's configuration has in common with this one's, as TOML."""
        with self._store.view() as state:
            members = list(self._members.of(state).values())
        raft = msgspec.to_builtins(self._config.raft)
        for own in ("listen", "dial"):
            raft.pop(own, None)
        shared = {name: msgspec.to_builtins(getattr(self._config, name)) for name in SHARED_SECTIONS}
        return tomli_w.dumps(
            {
                "cluster": {
                    "id": self._config.cluster.id,
                    "joining": True,
                    "members": [
                        {
                            "id": m.node_id,
                            "raft_address": m.raft_address,
                            "rpc_address": m.rpc_address,
                            "sae_id": m.sae_id,
                        }
                        for m in members
                    ],
                },
                "raft": raft,
                **shared,
            }
        )

    def ca_pem(self) -> bytes:
        """The CA that the cluster's listeners are checked against."""
        return self._config.tls.ca.read_bytes()

    def _judged(self, csr: bytes, node_id: str, hosts: set[str]) -> EllipticCurvePublicKey:
        try:
            return check_csr(csr, self._domain, node_id, hosts)
        except CsrRefused as refusal:
            raise InvalidField("csr", str(refusal), CsrRefused.code) from None


def _hosts(member: MemberRecord) -> set[str]:
    addresses = (member.raft_address, member.rpc_address)
    return {address.rpartition(":")[0].strip("[]") for address in addresses}


def _not_a_member(who: str) -> QkmsError:
    return QkmsError("NOT_A_MEMBER", f"{who} is no member of this cluster; add it first (qkms cluster add)")


def _ca_not_here(node_id: str) -> QkmsError:
    return QkmsError("CA_NOT_HERE", f"{node_id} has no [ca] section and cannot sign; ask another node")
