"""Keys of every family on three real nodes: what one node made, each verifies and opens, also after a restart."""

from collections.abc import Callable

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from qkms.v1 import crypto_pb2 as pb
from qkms.v1.crypto_pb2_grpc import CryptoServiceStub
from qkms_chaos.canary import search_tree
from qkms_chaos.cluster.world import World

pytestmark = pytest.mark.cluster

MESSAGE = b"attack at dawn"
TIMEOUT_S = 10.0


def test_each_node_verifies_and_opens_what_another_made(
    healthy: World, new_key_id: Callable[[], str], channel_to: Callable[[str], grpc.Channel]
) -> None:
    payments = healthy.payments
    signing = {
        algorithm: payments.create_key(new_key_id(), algorithm=algorithm, timeout=60.0)
        for algorithm in ("ED25519", "ECDSA_P384_SHA384", "RSA_3072_PSS_SHA256", "ML_DSA_65", "SLH_DSA_SHA2_128F")
    }
    mac_key = payments.create_key(new_key_id(), algorithm="HMAC_SHA256")
    kem_key = payments.create_key(new_key_id(), algorithm="X25519MLKEM768")
    signed = {algorithm: payments.sign(key, MESSAGE) for algorithm, key in signing.items()}
    mac, shared = payments.mac(mac_key, MESSAGE), payments.encapsulate(kem_key)
    for key in (*signing.values(), mac_key, kem_key):
        assert payments.rotate_key(key, expected_primary_version=1, timeout=60.0).version.version == 2

    restarted = healthy.nodes[0]
    assert healthy.cluster.nodes[restarted].terminate() == 0
    healthy.cluster.start_members([restarted])
    healthy.observer.wait_agreement()
    healthy.observer.wait_root(1)

    public: dict[str, set[bytes]] = {algorithm: set() for algorithm in signing}
    for node in healthy.nodes:
        stub = CryptoServiceStub(channel_to(node))
        for algorithm, key in signing.items():
            signature = signed[algorithm].signature
            for version, message, valid in ((1, MESSAGE, True), (1, b"other", False), (2, MESSAGE, False)):
                answer = stub.Verify(
                    pb.VerifyRequest(name=key.name, version=version, message=message, signature=signature),
                    timeout=TIMEOUT_S,
                )
                assert (answer.valid, answer.version) == (valid, version), (node, algorithm)
            found = stub.GetPublicKey(pb.GetPublicKeyRequest(name=key.name, version=1), timeout=TIMEOUT_S)
            public[algorithm].add(found.public_key)
        answer_mac = stub.VerifyMac(
            pb.VerifyMacRequest(name=mac_key.name, version=1, data=MESSAGE, mac=mac.mac), timeout=TIMEOUT_S
        )
        assert answer_mac.valid
        opened = stub.Decapsulate(
            pb.DecapsulateRequest(name=kem_key.name, version=1, ciphertext=shared.ciphertext), timeout=TIMEOUT_S
        )
        assert opened.shared_secret == shared.shared_secret
    assert {len(keys) for keys in public.values()} == {1}, "one public key, whichever node is asked"
    elsewhere = load_der_public_key(public["ML_DSA_65"].pop())
    assert isinstance(elsewhere, MLDSA65PublicKey)
    elsewhere.verify(signed["ML_DSA_65"].signature, MESSAGE)
    assert search_tree(healthy.cluster.layout.folder, {"shared secret": shared.shared_secret}) == []
