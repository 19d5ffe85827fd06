"""Who a peer is: each field a deployment may choose, on a certificate as ssl gives it."""

import pytest

from qkms_qkd.identity import PeerCertificate, SaeIdentity, common_name, principal, sae_id

CERTIFICATE: PeerCertificate = {
    "subject": ((("organizationName", "qkms"),), (("commonName", "node-1"),)),
    "subjectAltName": (("DNS", "one.example"), ("URI", "spiffe://qkms.dev/node/node-1"), ("DNS", "localhost")),
    "serialNumber": "00ab12",
}


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("cn", "node-1"),
        ("san_uri", "spiffe://qkms.dev/node/node-1"),
        ("san_dns", "one.example"),
        ("serial", "AB12"),
    ],
)
def test_each_field(field: SaeIdentity, expected: str) -> None:
    assert sae_id(CERTIFICATE, field) == expected
    assert sae_id({}, field) is None


def test_the_principal_is_the_uri_else_the_common_name() -> None:
    assert principal(CERTIFICATE) == "spiffe://qkms.dev/node/node-1"
    assert principal({"subject": CERTIFICATE["subject"]}) == "node-1"
    assert principal({}) is None


def test_two_common_names_are_none() -> None:
    assert common_name({"subject": ((("commonName", "node-1"),), (("commonName", "node-2"),))}) is None
