"""A policy set at one node decides at all; the audit of each verifies, and a flipped byte is named."""

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from qkms.audit import number_of
from qkms.v1 import common_pb2, crypto_pb2
from qkms.v1.crypto_pb2_grpc import CryptoServiceStub
from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.cluster.world import World
from qkms_chaos.refusal import refusal_of
from qkms_client import AuditChain, AuditVerdict, Rule, audit_export, errors

pytestmark = pytest.mark.cluster


def test_a_policy_set_at_one_node_decides_at_every_node(
    healthy: World, new_key_id: Callable[[], str], channel_to: Callable[[str], grpc.Channel]
) -> None:
    key, operator = new_key_id(), healthy.operator
    healthy.payments.create_key(key)
    nodes = {node: CryptoServiceStub(channel_to(node)) for node in healthy.nodes}
    request = crypto_pb2.EncryptRequest(
        name=f"keys/{key}",
        plaintext=b"attack at dawn",
        consistency=common_pb2.Consistency(level=common_pb2.LINEARIZABLE),
    )
    for stub in nodes.values():
        stub.Encrypt(request, timeout=10)
    operator.create_policy(key, [Rule(("crypto.encrypt",), (key,), allow=False)])
    role = operator.create_role(key, principals=[healthy.payments.principal], policies=[key])
    # A linearizable call is decided over a ledger that has the policy, at whichever node.
    for node, stub in nodes.items():
        refused = refusal_of(lambda stub=stub: stub.Encrypt(request, timeout=10))  # type: ignore[misc]
        assert refused.reason == "PERMISSION_DENIED", node
    found = operator.explain_policy(healthy.payments.principal, "crypto.encrypt", key)
    assert (found.allowed, found.rule) == (False, f"roles/{key}/policies/{key}/rules/0")
    operator.delete_role(role)
    for stub in nodes.values():
        stub.Encrypt(request, timeout=10)
    denied = {
        node: [
            r.resource
            for r in operator.query_audit(
                AuditChain.CALLS, node=node, method="CryptoService/Encrypt", code="PERMISSION_DENIED"
            )
        ]
        for node in healthy.nodes
    }
    assert all(f"keys/{key}" in resources for resources in denied.values()), denied


def test_the_audit_of_every_node_verifies_and_a_flipped_byte_is_named(
    healthy: World, new_key_id: Callable[[], str], tmp_path: Path
) -> None:
    key, operator = new_key_id(), healthy.operator
    healthy.payments.create_key(key)
    for node in healthy.nodes:
        assert operator.anchor_audit(node).node_id == node
    for node in healthy.nodes:
        verdicts = {v.chain: v for v in operator.verify_audit(node)}
        assert all(v.intact for v in verdicts.values()), verdicts
        assert verdicts["calls"].anchors >= 1
    healthy.observer.wait_agreement()
    heads = [operator.audit_heads(node) for node in healthy.nodes]
    assert len({(h.mutations_length, h.mutations_head) for h in heads}) == 1, "one chain of mutations"

    anchors, keys = operator.list_anchors()
    audit_export.write_anchors(tmp_path, operator.status().cluster_id, keys, anchors, heads)
    for chain, source, name in (
        (AuditChain.MUTATIONS, None, "mutations.jsonl"),
        *((AuditChain.CALLS, node, audit_export.calls_file(node)) for node in healthy.nodes),
    ):
        lines = [r.line for r in operator.query_audit(chain, node=source, page_size=1_000)]
        (tmp_path / name).write_bytes(b"".join(line + b"\n" for line in lines))
    assert [v.problem for v in audit_export.check(tmp_path)] == [""] * (1 + len(healthy.nodes))

    node = healthy.nodes[-1]
    on_disk = sorted((healthy.cluster.layout.home(node) / "data" / "audit").glob("calls-*.jsonl"))[0]
    checks: list[tuple[Path, Callable[[], list[AuditVerdict]]]] = [
        (on_disk, lambda: operator.verify_audit(node)),
        (tmp_path / audit_export.calls_file(node), lambda: audit_export.check(tmp_path)),
    ]
    for path, check in checks:
        with path.open("r+b") as file:
            lines = [file.readline() for _ in range(3)]
            place = len(lines[0]) + len(lines[1]) + 40
            file.seek(place)
            old = file.read(1)
            file.seek(place)
            file.write(bytes([old[0] ^ 0x01]))
            file.flush()
            broken = [v for v in check() if not v.intact]
            assert [v.broken_record for v in broken] == [number_of(lines[2])], broken
            file.seek(place)
            file.write(old)
    assert all(v.intact for v in operator.verify_audit(node))


def test_a_chain_cut_off_behind_its_anchor_is_an_alarm_until_a_new_one_is_begun(healthy: World) -> None:
    operator, node = healthy.operator, healthy.nodes[0]
    folder = healthy.cluster.layout.home(node) / "data" / "audit"
    old = operator.anchor_audit(node)
    assert healthy.cluster.nodes[node].terminate() == 0
    file = sorted(folder.glob("calls-*.jsonl"))[-1]
    lines = file.read_bytes().splitlines(keepends=True)
    assert number_of(lines[-1]) >= old.length
    file.write_bytes(b"".join(line for line in lines if number_of(line) < old.length))
    healthy.cluster.start_members([node])

    def alarmed() -> None:
        if "cut off" not in operator.status(node).audit:
            raise NotYet("the status says nothing of the audit")

    wait_for("an alarm", alarmed, 20)
    with pytest.raises(errors.AuditBroken):
        operator.anchor_audit(node)
    assert not all(v.intact for v in operator.verify_audit(node))

    # What the alarm says to do: a new chain, under a new key, beside the old one.
    assert healthy.cluster.nodes[node].terminate() == 0
    folder.rename(folder.with_name("audit-damaged"))
    healthy.cluster.start_members([node])
    healthy.observer.wait_agreement()
    new = operator.anchor_audit(node)
    assert new.key_id != old.key_id
    assert operator.status(node).audit == ""
    assert all(v.intact for v in operator.verify_audit(node))
    assert {old.key_id, new.key_id} <= {key.key_id for key in operator.list_anchors(node)[1]}
