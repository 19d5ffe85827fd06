"""The audit chains: how a record is written and linked, how a head is signed, how both are checked.

    line   = body without its last "}" || ,"h":"<head in hexadecimal>"}
    head_n = SHA-256(LP("qkms/audit-link/v1", head_{n-1}) || body_n)

A body is one JSON object in ASCII without line breaks; its field `n` counts
from 1. What is hashed is the bytes of the line, so that nothing in a line can
change unnoticed, spelling included. head_0 binds MUTATIONS to its label, CALLS
to cluster and node.

An anchor is two signatures, Ed25519 (RFC 8032) and ML-DSA-65 (FIPS 204), over
LP("qkms/audit-anchor/v1", cluster, node, key_id, length, head): it holds if either
scheme holds, since both must verify. A chain alone shows alteration in the
middle; only an anchor shows that the end was cut off or all of it written anew.

Pure, and used by both ends. Leaves out files and who may read them.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey

from qkms import labels

HEAD_BYTES = 32
KEY_ID_BYTES = 16
MAX_NUMBER = 2**63 - 1
_MARK = b',"h":"'
_SUFFIX = len(_MARK) + 2 * HEAD_BYTES + len(b'"}')

MUTATIONS_GENESIS = hashlib.sha256(labels.lp(labels.AUDIT_MUTATIONS)).digest()
"""head_0 of the chain in the ledger."""


class AuditBroken(Exception):
    """A chain that does not hold: `number` is the first record that is wrong, `problem` says how."""

    code = "AUDIT_BROKEN"

    def __init__(self, number: int, problem: str) -> None:
        super().__init__(f"record {number}: {problem}")
        self.number = number
        self.problem = problem


@dataclass(frozen=True)
class Head:
    """How far a chain has come: `length` records, and the SHA-256 (32 bytes) after the last."""

    length: int
    digest: bytes


@dataclass(frozen=True)
class SignedHead:
    """A head of the calls of `node_id`, signed by its audit key `key_id`."""

    node_id: str
    key_id: str
    head: Head
    ed25519_signature: bytes
    mldsa65_signature: bytes


@dataclass(frozen=True)
class AuditPublicKey:
    """The public halves of an audit key: 32 and 1952 bytes."""

    ed25519: bytes
    mldsa65: bytes

    @property
    def key_id(self) -> str:
        """SHA-256 over both halves, the first 16 bytes in hexadecimal."""
        halves = labels.lp(labels.AUDIT_KEY, self.ed25519, self.mldsa65)
        return hashlib.sha256(halves).digest()[:KEY_ID_BYTES].hex()


def calls_genesis(cluster_id: str, node_id: str) -> bytes:
    """head_0 of a node's chain of calls: chains of two nodes or clusters do not mix."""
    return hashlib.sha256(labels.lp(labels.AUDIT_CALLS, cluster_id, node_id)).digest()


def append(head: Head, fields: Mapping[str, Any]) -> tuple[bytes, Head]:
    """The line of the next record, without a line break, and the head after it."""
    number = head.length + 1
    body = json.dumps({"n": number, **fields}, separators=(",", ":")).encode()
    after = Head(number, _link(head.digest, body))
    return body[:-1] + _MARK + after.digest.hex().encode() + b'"}', after


def number_of(line: bytes) -> int:
    """The number of a record as its line says, at most MAX_NUMBER; 0 when it says none. Nothing is checked."""
    digits, _, _ = line.removeprefix(b'{"n":').partition(b",")
    if not digits.isdigit():
        return 0
    # Python refuses to read a number of more than 4,300 digits.
    return int(digits) if len(digits) < len(str(MAX_NUMBER)) else MAX_NUMBER


def fields_of(line: bytes) -> dict[str, Any]:
    """What a line says. Raises ValueError when it is not a JSON object, or nests too deeply."""
    try:
        fields = json.loads(line)
    except RecursionError:
        raise ValueError("a record of the audit does not nest so deeply") from None
    if not isinstance(fields, dict):
        raise ValueError("a record of the audit is a JSON object")
    return fields


def head_of(line: bytes) -> Head:
    """The head that a line claims. Raises AuditBroken."""
    number = number_of(line)
    if len(line) <= _SUFFIX or line[-_SUFFIX:][: len(_MARK)] != _MARK or line[-2:] != b'"}' or not number:
        raise AuditBroken(number, "is not a record of this format")
    digits = line[-_SUFFIX + len(_MARK) : -2]
    try:
        digest = bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        raise AuditBroken(number, "has no hash") from None
    # One spelling: else a letter's case could change unnoticed.
    if digest.hex().encode() != digits:
        raise AuditBroken(number, "has a hash in another spelling")
    return Head(number, digest)


def follow(head: Head, line: bytes) -> Head:
    """The head after `line`, if it is the next record after `head`. Raises AuditBroken."""
    expected = head.length + 1
    try:
        claimed = head_of(line)
    except AuditBroken as broken:
        raise AuditBroken(expected, broken.problem) from None
    if claimed.length != expected:
        raise AuditBroken(expected, f"is missing or out of order: a record {claimed.length} stands in its place")
    if _link(head.digest, line[:-_SUFFIX] + b"}") != claimed.digest:
        raise AuditBroken(expected, "does not match its hash: it, or the record before it, was altered")
    return claimed


def check_chain(start: Head, lines: Iterable[bytes], anchors: Iterable[SignedHead] = ()) -> Head:
    """Follows `lines` from `start` and compares with the heads of `anchors`; the last head.

    Signatures are checked apart (`signed_by`). Raises AuditBroken with the first record that is
    wrong, or that an anchor says was there and is not.
    """
    wanted: dict[int, list[bytes]] = {}
    for anchor in anchors:
        wanted.setdefault(anchor.head.length, []).append(anchor.head.digest)
    head = start
    for line in lines:
        head = follow(head, line)
        if any(digest != head.digest for digest in wanted.get(head.length, ())):
            raise AuditBroken(head.length, "is not the one that was anchored: the chain was written anew")
    missing = [length for length in wanted if length > head.length]
    if missing:
        raise AuditBroken(head.length + 1, f"is missing: {max(missing)} records were anchored")
    return head


def statement(cluster_id: str, node_id: str, key_id: str, head: Head) -> bytes:
    """What an anchor's signatures are over."""
    return labels.lp(labels.AUDIT_ANCHOR, cluster_id, node_id, key_id, head.length, head.digest)


def signed_by(key: AuditPublicKey, cluster_id: str, signed: SignedHead) -> bool:
    """Whether both signatures of `signed` are of `key`: false for names and keys that no anchor can have."""
    try:
        if key.key_id != signed.key_id:
            return False
        data = statement(cluster_id, signed.node_id, signed.key_id, signed.head)
        Ed25519PublicKey.from_public_bytes(key.ed25519).verify(signed.ed25519_signature, data)
        MLDSA65PublicKey.from_public_bytes(key.mldsa65).verify(signed.mldsa65_signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def _link(previous: bytes, body: bytes) -> bytes:
    return hashlib.sha256(labels.lp(labels.AUDIT_LINK, previous) + body).digest()
