"""An export of the audit as files, and its check without any node.

A folder with `mutations.jsonl`, a `calls-{node}.jsonl` for each node, and
`anchors.json`: the cluster's id, the public audit keys, the anchors of the
ledger, and the heads that each node signed when it was asked.

The check follows every chain, verifies both signatures of every anchor,
compares the chains with the anchors, and looks for each anchor in the chain of
mutations. It trusts the keys in `anchors.json` unless their ids are given: note
them from `qkms audit head` while you trust the cluster. A chain whose first
records are not there is followed from the first that is, on trust.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from qkms.audit import (
    HEAD_BYTES,
    MAX_NUMBER,
    MUTATIONS_GENESIS,
    AuditBroken,
    AuditPublicKey,
    Head,
    SignedHead,
    calls_genesis,
    check_chain,
    fields_of,
    head_of,
    number_of,
    signed_by,
)
from qkms.errors import CryptoError
from qkms_client.access_types import AuditAnchor, AuditHeads, AuditKey, AuditVerdict
from qkms_client.errors import ExportInvalid

MUTATIONS = "mutations"
CALLS = "calls"
ANCHORS_FILE = "anchors.json"


@dataclass(frozen=True)
class Anchors:
    """The content of `anchors.json`. `ends`: where each node said that the mutations end."""

    cluster_id: str
    keys: Mapping[str, AuditPublicKey]
    committed: Sequence[SignedHead]
    heads: Sequence[SignedHead]
    ends: Sequence[Head]


def calls_file(node_id: str) -> str:
    """The file of a node's calls."""
    return f"{CALLS}-{node_id}.jsonl"


def write_anchors(
    folder: Path,
    cluster_id: str,
    keys: Sequence[AuditKey],
    anchors: Sequence[AuditAnchor],
    heads: Sequence[AuditHeads],
) -> None:
    """Writes `anchors.json` into `folder`. Raises OSError."""
    content = {
        "cluster_id": cluster_id,
        "keys": [
            {
                "key_id": key.key_id,
                "node_id": key.node_id,
                "ed25519": key.ed25519_public_key.hex(),
                "mldsa65": key.mldsa65_public_key.hex(),
            }
            for key in keys
        ],
        "anchors": [_anchor_out(anchor) for anchor in anchors],
        "heads": [_anchor_out(each.calls) for each in heads if each.calls.key_id],
        "ends": [{"length": h.mutations_length, "head": h.mutations_head.hex()} for h in heads],
    }
    (folder / ANCHORS_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")


def check(folder: Path, trusted: Collection[str] = ()) -> list[AuditVerdict]:
    """A verdict for each chain of an export; `trusted`: ids of the only audit keys to believe.

    Raises ExportInvalid when the folder is not an export.
    """
    try:
        return _check(folder, trusted)
    except CryptoError as error:
        raise ExportInvalid(f"{folder}: names what no cluster or node can be called: {error}") from None


def _check(folder: Path, trusted: Collection[str]) -> list[AuditVerdict]:
    anchors = _read_anchors(folder)
    names = sorted(path.name for path in folder.glob(f"{CALLS}-*.jsonl"))
    if not (folder / f"{MUTATIONS}.jsonl").is_file():
        raise ExportInvalid(f"{folder}: there is no {MUTATIONS}.jsonl; give the folder of `qkms audit export`")
    verdicts = [_check_mutations(folder, anchors)]
    for name in names:
        node_id = name.removeprefix(f"{CALLS}-").removesuffix(".jsonl")
        verdicts.append(_check_calls(folder / name, node_id, anchors, trusted))
    return verdicts


def _check_mutations(folder: Path, anchors: Anchors) -> AuditVerdict:
    path = folder / f"{MUTATIONS}.jsonl"
    ends = [SignedHead("", "", end, b"", b"") for end in anchors.ends]
    wanted = {f"auditAnchors/{a.node_id}/{a.head.length}/{a.head.digest.hex()}" for a in anchors.committed}
    counter = _Counter(path)
    try:
        start = counter.start(Head(0, MUTATIONS_GENESIS))
        _check_start(start, ends)
        check_chain(start, counter.lines(wanted), ends)
        if wanted and not start.length:
            raise AuditBroken(counter.count + 1, f"is missing: no record of the anchor {min(wanted)}")
    except AuditBroken as broken:
        return counter.broken(MUTATIONS, 0, broken)
    return AuditVerdict(MUTATIONS, True, counter.count, len(anchors.committed), 0, "")


def _check_calls(path: Path, node_id: str, anchors: Anchors, trusted: Collection[str]) -> AuditVerdict:
    name, counter = f"{CALLS} of {node_id}", _Counter(path)
    mine = [each for each in (*anchors.committed, *anchors.heads) if each.node_id == node_id]
    try:
        start = counter.start(Head(0, calls_genesis(anchors.cluster_id, node_id)))
        for each in mine:
            if trusted and each.key_id not in trusted:
                raise AuditBroken(
                    each.head.length, f"is anchored under key {each.key_id}, which is not a trusted one"
                )
            key = anchors.keys.get(each.key_id)
            if key is None or not signed_by(key, anchors.cluster_id, each):
                raise AuditBroken(each.head.length, "has an anchor whose signatures do not verify")
        # The chain of the key in use: one that was moved aside has anchors under another key.
        current = {each.key_id for each in anchors.heads if each.node_id == node_id}
        anchored = [each for each in mine if each.key_id in current]
        _check_start(start, anchored)
        check_chain(start, counter.lines(), [each for each in anchored if each.head.length > start.length])
    except AuditBroken as broken:
        return counter.broken(name, len(mine), broken)
    return AuditVerdict(name, True, counter.count, len(mine), 0, "")


def _check_start(start: Head, anchored: Sequence[SignedHead]) -> None:
    """Raises AuditBroken for a chain that begins, on trust, with another record than was anchored, or later."""
    last = max((each.head.length for each in anchored), default=start.length)
    if start.length > last:
        raise AuditBroken(last, f"is missing: it was anchored, and the chain begins with record {start.length}")
    here = [each.head for each in anchored if each.head.length == start.length]
    if start.length and any(head != start for head in here):
        raise AuditBroken(start.length, "is not the one that was anchored: the chain was written anew")


class _Counter:
    """The lines of a file, counted as they are followed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._skip = 0
        self._place = 0
        self.count = 0

    def start(self, genesis: Head) -> Head:
        """Where to follow the chain from: its beginning, or the first record that is there."""
        with self._open() as file:
            first = file.readline().rstrip(b"\n")
        if not first or number_of(first) <= 1:
            return genesis
        self._skip = self._place = 1
        return head_of(first)

    def lines(self, seen: set[str] | None = None) -> Iterator[bytes]:
        """The lines to follow; resources that are met are taken out of `seen`."""
        with self._open() as file:
            for position, line in enumerate(file):
                text = line.removesuffix(b"\n")
                self._place = position + 1
                if position >= self._skip:
                    yield text
                self.count += 1
                if seen:
                    seen.discard(_resource(text))
        self._place = 0

    def broken(self, chain: str, anchors: int, broken: AuditBroken) -> AuditVerdict:
        """The verdict of a chain that broke at the line in hand, or after the last."""
        where = f" ({self._path.name}, line {self._place})" if self._place else f" ({self._path.name})"
        return AuditVerdict(chain, False, self.count, anchors, max(broken.number, 1), broken.problem + where)

    def _open(self) -> BinaryIO:
        try:
            return self._path.open("rb")
        except OSError as error:
            raise ExportInvalid(f"{self._path}: cannot be read: {error.strerror}") from None


def _resource(line: bytes) -> str:
    try:
        return str(fields_of(line).get("resource", ""))
    except ValueError:
        return ""


def _anchor_out(anchor: AuditAnchor) -> dict[str, Any]:
    return {
        "node_id": anchor.node_id,
        "key_id": anchor.key_id,
        "length": anchor.length,
        "head": anchor.head.hex(),
        "ed25519": anchor.ed25519_signature.hex(),
        "mldsa65": anchor.mldsa65_signature.hex(),
    }


def _read_anchors(folder: Path) -> Anchors:
    path = folder / ANCHORS_FILE
    try:
        content = json.loads(path.read_text(encoding="ascii"))
        return Anchors(
            cluster_id=str(content["cluster_id"]),
            keys={
                str(key["key_id"]): AuditPublicKey(bytes.fromhex(key["ed25519"]), bytes.fromhex(key["mldsa65"]))
                for key in content["keys"]
            },
            committed=[_anchor_in(each) for each in content["anchors"]],
            heads=[_anchor_in(each) for each in content["heads"]],
            ends=[_head_in(end) for end in content["ends"]],
        )
    except OSError as error:
        raise ExportInvalid(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ExportInvalid(f"{path}: is not what an export writes: {type(error).__name__} {error}") from None


def _anchor_in(content: Mapping[str, Any]) -> SignedHead:
    return SignedHead(
        str(content["node_id"]),
        str(content["key_id"]),
        _head_in(content),
        bytes.fromhex(content["ed25519"]),
        bytes.fromhex(content["mldsa65"]),
    )


def _head_in(content: Mapping[str, Any]) -> Head:
    length, digest = content["length"], bytes.fromhex(content["head"])
    if not isinstance(length, int) or not 0 <= length <= MAX_NUMBER or len(digest) != HEAD_BYTES:
        raise ValueError(f"a head has a length up to {MAX_NUMBER} and {HEAD_BYTES} bytes")
    return Head(length, digest)
