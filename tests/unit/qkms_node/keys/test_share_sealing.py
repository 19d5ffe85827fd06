"""A share opens for its binding, its node's keys and its QKD key only."""

from dataclasses import replace
from typing import Any

import pytest

from qkms.errors import InvalidInput
from qkms.kem import HybridPrivateKey, HybridPublicKey, KemRejected
from qkms_node.keys.secret import QkdSecret, RootSecret
from qkms_node.keys.share import Binding, ShareRejected, open_share, seal_share

ROOT = RootSecret(b"r" * 32)
PRIVATE = HybridPrivateKey.from_bytes(bytes(range(96)))
PSK = QkdSecret(b"q" * 32)
SHARE_BOUND = Binding("dev", 7, "node-1", "node-2", "5c1d")
SHARE = seal_share(ROOT, SHARE_BOUND, PRIVATE.public, PSK)


@pytest.mark.parametrize(("psk", "key_id"), [(PSK, "5c1d"), (None, "")], ids=["QKD", "PQC only"])
def test_share_round_trip(psk: QkdSecret | None, key_id: str) -> None:
    bound = replace(SHARE_BOUND, qkd_key_id=key_id)
    shares = [seal_share(ROOT, bound, PRIVATE.public, psk) for _ in range(2)]
    assert shares[0].ciphertext != shares[1].ciphertext
    assert shares[0].sealed != shares[1].sealed
    for share in shares:
        assert len(share.sealed) == 48
        opened = open_share(share, bound, PRIVATE, psk)
        assert isinstance(opened, RootSecret)
        assert opened.reveal() == ROOT.reveal()


@pytest.mark.parametrize(
    "change",
    [{"cluster_id": "d"}, {"epoch": 8}, {"leader_id": "node-3"}, {"node_id": "node-3"}, {"qkd_key_id": "5"}],
    ids=str,
)
def test_share_opens_for_its_binding_only(change: dict[str, Any]) -> None:
    with pytest.raises(ShareRejected, match="does not open"):
        open_share(SHARE, replace(SHARE_BOUND, **change), PRIVATE, PSK)


def test_share_opens_with_its_private_key_and_qkd_key_only() -> None:
    with pytest.raises(ShareRejected):
        open_share(SHARE, SHARE_BOUND, HybridPrivateKey.generate(), PSK)
    with pytest.raises(ShareRejected) as caught:
        open_share(SHARE, SHARE_BOUND, PRIVATE, QkdSecret(bytes(32)))
    assert caught.value.code == "SHARE_REJECTED"


def test_share_sealed_without_a_qkd_key_does_not_pass_for_one_sealed_with_zeros() -> None:
    share = seal_share(ROOT, replace(SHARE_BOUND, qkd_key_id=""), PRIVATE.public, None)
    with pytest.raises(ShareRejected):
        open_share(share, SHARE_BOUND, PRIVATE, QkdSecret(bytes(32)))


@pytest.mark.parametrize(("psk", "key_id"), [(None, "5c1d"), (PSK, "")])
def test_qkd_key_and_its_id_come_together(psk: QkdSecret | None, key_id: str) -> None:
    bound = replace(SHARE_BOUND, qkd_key_id=key_id)
    with pytest.raises(InvalidInput, match="exactly when"):
        seal_share(ROOT, bound, PRIVATE.public, psk)
    with pytest.raises(InvalidInput, match="exactly when"):
        open_share(SHARE, bound, PRIVATE, psk)


def test_share_for_a_bad_public_key_is_refused() -> None:
    with pytest.raises(KemRejected):
        seal_share(ROOT, SHARE_BOUND, HybridPublicKey(PRIVATE.public.mlkem, bytes(32)), PSK)
