"""Every error code that the node raises has a gRPC status, and every status a code that is raised."""

import re
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

import qkms_node
from qkms_node.errors import InvalidField, QkmsError
from qkms_node.rpc.errors import STATUS, rich_status, status_code

# Only nodes see these: outcomes of commands that the voter, the witness and the seeder read, and a
# stale proposal, which the service draws again.
INSIDE = {
    "EPOCH_IN_USE",
    "NOT_RECOVERABLE",
    "SHARE_BELOW_GRADE",
    "EPOCH_ABORTED",
    "NOT_A_VOTER",
    "EVIDENCE_REFUSED",
    "COMMITMENT_MISMATCH",
    "NOT_CONFIRMED",
    "KEY_REPLAYED",
    "RELAYS_MALFORMED",
    "QBER_MALFORMED",
}


# Only encryptors see these, as statuses and messages of HTTP (qkms_node.northbound).
NORTHBOUND = {
    "SAE_KEY_NOT_FOUND",
    "SAE_KEY_NOT_NAMED",
    "SAE_KEY_EXISTS",
    "SAE_KEYS_WAITING",
    "GRADE_NOT_MET",
}


def raised_codes() -> set[str]:
    source = "\n".join(
        path.read_text()
        for folder in ("ledger", "service", "access", "rpc")
        for path in (Path(qkms_node.__file__).parent / folder).rglob("*.py")
    )
    direct = re.findall(r'(?:Refusal|QkmsError)\(\s*"([A-Z_]+)"', source)
    named = re.findall(r'code="([A-Z_]+)"', source)
    chosen = re.findall(r'"(VERSION_[A-Z]+)" if ', source) + re.findall(r'else "(VERSION_[A-Z]+)"', source)
    classes = ["CSR_REFUSED"] if "CsrRefused.code" in source else []
    classes += ["MATERIAL_REJECTED"] if "WrappingRejected, MaterialRejected" in source else []
    # access_rules makes a code of a collection's name and of what happened.
    collections = re.findall(r'"(POLICY|ROLE|TENANT|GRANT)"', source)
    made = [
        f"{c}_{end}" for c in collections for end in re.findall(r'f"{_SINGULAR\[collection\]}_([A-Z_]+)"', source)
    ]
    return {*direct, *named, *chosen, *classes, *made}


def test_the_table_and_the_code_agree() -> None:
    raised = raised_codes() - INSIDE - NORTHBOUND
    assert {"NO_QUORUM", "KEY_NOT_FOUND", "VERSION_CONFLICT"} <= raised, "the search itself works"
    assert raised <= STATUS.keys()
    assert STATUS.keys() - raised <= {"INVALID_FIELD", "ROTATION_PENDING"} - raised


def test_a_rich_status_carries_reason_retry_and_field() -> None:
    error = QkmsError("NO_QUORUM", "no quorum", 0.25, leader="node-2")
    status = status_pb2.Status.FromString(rich_status(error))
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(retry)
    assert (info.reason, dict(info.metadata)) == ("NO_QUORUM", {"leader": "node-2"})
    assert retry.retry_delay.ToMilliseconds() == 250
    bad = error_details_pb2.BadRequest()
    status = status_pb2.Status.FromString(rich_status(InvalidField("name", "is empty")))
    assert status.details[1].Unpack(bad)
    assert bad.field_violations[0].field == "name"


@pytest.mark.parametrize("code", ["SOMETHING_NEW"])
def test_a_code_outside_the_table_is_internal(code: str) -> None:
    assert status_code(QkmsError(code, "x")) is grpc.StatusCode.INTERNAL
