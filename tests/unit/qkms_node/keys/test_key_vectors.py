"""The key hierarchy and all sealing against vectors computed by other code (tests/vectors)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qkms.errors import CryptoError
from qkms.hybrid import hybrid_decapsulate, hybrid_encapsulate, hybrid_public_bytes
from qkms.kem import HybridCiphertext, HybridPrivateKey
from qkms_node.keys import data
from qkms_node.keys.local import open_local, seal_local
from qkms_node.keys.root import Seed, check_commitment, commitment, derive_kek, mix_root, session_psk
from qkms_node.keys.secret import (
    EncryptionKey,
    KeyEncryptionKey,
    LocalSealKey,
    QkdSecret,
    RootSecret,
    VersionSecret,
)
from qkms_node.keys.share import Binding, SealedShare, open_share
from qkms_node.keys.version import (
    CheckValueMismatch,
    VersionBinding,
    check_value,
    check_version,
    unwrap_version,
    wrap_version,
)

Case = dict[str, Any]
hexed = bytes.fromhex


def cases(name: str) -> list[Case]:
    path = Path(__file__).parents[3] / "vectors" / name
    found: list[Case] = json.loads(path.read_text())["cases"]
    return found


def mix_and_check(case: Case) -> RootSecret:
    previous = RootSecret(hexed(case["previous"])) if case["previous"] else None
    seeds = [Seed(seed["key_id"], QkdSecret(hexed(seed["key"]))) for seed in case["seeds"]]
    root = mix_root(previous, hexed(case["local"]), seeds)
    check_commitment(root, case["cluster_id"], case["epoch"], hexed(case["commitment"]))
    return root


def root_holds(case: Case) -> None:
    root = mix_and_check(case)
    assert root.reveal().hex() == case["root"]
    assert commitment(root, case["cluster_id"], case["epoch"]).hex() == case["commitment"]
    assert derive_kek(root, case["epoch"]).reveal().hex() == case["kek"]
    assert session_psk(root, **case["session"]).hex() == case["session_psk"]


def open_the_share(case: Case) -> RootSecret:
    bound = Binding(*(case[part] for part in ("cluster_id", "epoch", "leader_id", "node_id", "qkd_key_id")))
    ciphertext = HybridCiphertext(hexed(case["mlkem_ciphertext"]), hexed(case["x25519_public"]))
    psk = QkdSecret(hexed(case["psk"])) if case["psk"] else None
    private = HybridPrivateKey.from_bytes(hexed(case["private"]))
    return open_share(SealedShare(ciphertext, hexed(case["sealed"])), bound, private, psk)


def share_holds(case: Case) -> None:
    assert open_the_share(case).reveal().hex() == case["root"]


def bound_version(case: Case) -> VersionBinding:
    return VersionBinding(case["key_id"], case["version"], case["algorithm"], case["epoch"])


def unwrap(case: Case) -> VersionSecret:
    return unwrap_version(KeyEncryptionKey(hexed(case["kek"])), hexed(case["wrapped"]), bound_version(case))


def version_holds(case: Case) -> None:
    material = VersionSecret(hexed(case["material"]))
    kek = KeyEncryptionKey(hexed(case["kek"]))
    assert wrap_version(kek, material, bound_version(case), hexed(case["nonce"])).hex() == case["wrapped"]
    assert unwrap(case).reveal().hex() == case["material"]
    name, public = (case["key_id"], case["version"]), hexed(case["public_key"])
    assert check_value(material, *name).hex() == case["check_value"]
    assert check_value(material, *name, public).hex() == case["check_value_of_both"]
    check_version(material, *name, b"", hexed(case["check_value"]))
    check_version(material, *name, public, hexed(case["check_value_of_both"]))
    with pytest.raises(CheckValueMismatch, match=r"keys/orders/versions/3: .* check value"):
        check_version(material, *name, public + b"x", hexed(case["check_value_of_both"]))


def key_inputs(case: Case) -> tuple[VersionSecret, str, str, int, dict[str, str]]:
    material = VersionSecret(hexed(case["material"]))
    return material, case["algorithm"], case["key_id"], case["version"], case["context"]


def open_data(case: Case) -> bytes:
    ciphertext = hexed(case["ciphertext"])
    assert data.ciphertext_version(ciphertext) == case["version"]
    return data.open_sealed(data.encryption_key(*key_inputs(case)), ciphertext, hexed(case["aad"]))


def data_holds(case: Case) -> None:
    key = data.encryption_key(*key_inputs(case))
    assert data.context_hash(case["context"]).hex() == case["context_hash"]
    assert key.reveal().hex() == case["encryption_key"]
    assert data.derived_key(*key_inputs(case)).hex() == case["derived_key"]
    lengths = [data.derived_key(*key_inputs(case), length).hex() for length in (16, 33, 1024)]
    assert lengths == case["derived_keys"]
    plaintext, aad = hexed(case["plaintext"]), hexed(case["aad"])
    assert data.seal(key, case["version"], plaintext, aad, hexed(case["r"])).hex() == case["ciphertext"]
    assert open_data(case) == plaintext


def open_store(case: Case) -> bytes:
    key = LocalSealKey(hexed(case["key"]))
    return open_local(key, hexed(case["sealed"]), cluster_id=case["cluster_id"], node_id=case["node_id"])


def local_holds(case: Case) -> None:
    sealed = seal_local(
        LocalSealKey(hexed(case["key"])), hexed(case["payload"]),
        cluster_id=case["cluster_id"], node_id=case["node_id"], nonce=hexed(case["nonce"]),
    )  # fmt: skip
    assert sealed.hex() == case["sealed"]
    assert open_store(case).hex() == case["payload"]


def open_hybrid(case: Case) -> bytes:
    return hybrid_decapsulate(HybridPrivateKey.from_bytes(hexed(case["private"])), hexed(case["ciphertext"]))


def hybrid_holds(case: Case) -> None:
    assert hybrid_public_bytes(HybridPrivateKey.from_bytes(hexed(case["private"])).public).hex() == case["public"]
    assert open_hybrid(case).hex() == case["secret"]
    ciphertext, secret = hybrid_encapsulate(hexed(case["public"]))
    assert open_hybrid({**case, "ciphertext": ciphertext.hex()}) == secret


# File: what must hold for its good cases, what must be refused for its failing ones.
FILES: dict[str, tuple[Callable[[Case], None], Callable[[Case], object]]] = {
    "root.json": (root_holds, mix_and_check),
    "share.json": (share_holds, open_the_share),
    "version.json": (version_holds, unwrap),
    "data.json": (data_holds, open_data),
    "local.json": (local_holds, open_store),
    "hybrid.json": (hybrid_holds, open_hybrid),
}
ALL = [(name, case) for name in FILES for case in cases(name)]
HOLDING = [(name, case) for name, case in ALL if "fails" not in case]
FAILING = [(name, case) for name, case in ALL if "fails" in case]


def title(value: object) -> str | None:
    return str(value["title"]) if isinstance(value, dict) else None


@pytest.mark.parametrize(("name", "case"), HOLDING, ids=title)
def test_vectors_that_hold(name: str, case: Case) -> None:
    FILES[name][0](case)


@pytest.mark.parametrize(("name", "case"), FAILING, ids=title)
def test_vectors_that_fail(name: str, case: Case) -> None:
    with pytest.raises(CryptoError) as caught:
        FILES[name][1](case)
    assert caught.value.code == case["fails"]


def test_every_file_has_both_kinds() -> None:
    for kind in (HOLDING, FAILING):
        assert {name for name, _ in kind} == set(FILES)


def test_a_ciphertext_crafted_for_two_keys_opens_under_one_only() -> None:
    [case] = cases("two_keys.json")
    body, associated = hexed(case["body"]), hexed(case["associated"])
    seen = {AESGCM(hexed(key)).decrypt(bytes(12), body, associated) for key in case["message_keys"]}
    assert len(seen) == 2, "AES-GCM alone must open it under both, or this shows nothing"
    keys = [EncryptionKey(hexed(key)) for key in case["encryption_keys"]]
    sealed = [hexed(ciphertext) for ciphertext in case["ciphertexts"]]
    for own, other in ((0, 1), (1, 0)):
        assert data.open_sealed(keys[own], sealed[own], b"") in seen
        with pytest.raises(data.CiphertextRejected):
            data.open_sealed(keys[other], sealed[own], b"")
