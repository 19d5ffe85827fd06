"""Vectors of root epochs and shares: `python -m tests.vectors.generate_root [--check]`.

ML-KEM is not computed again: keys, ciphertext and secret are those of count 0
of the known answers in `cryptography_vectors`.
"""

from tests.vectors.known_answers import first_mlkem768
from tests.vectors.reference import expand, gcm_seal, lp, mac, number, sample, sha256, x25519
from tests.vectors.writing import Case, publish

BASE_POINT = (9).to_bytes(32, "little")
ZERO = bytes(32)


def mixed(previous: bytes | None, local: bytes, seeds: dict[str, bytes]) -> bytes:
    ikm = lp(local)
    for key_id in sorted(seeds):
        ikm += lp(key_id.encode(), seeds[key_id])
    return mac(previous or ZERO, ikm)


def root_case(title: str, previous: bytes | None, seeds: dict[str, bytes], order: list[str]) -> Case:
    local = sample("local randomness", 32)
    root = mixed(previous, local, seeds)
    branch = expand(root, lp(b"qkms/session-branch/v1"), 32)
    commit_key = expand(root, lp(b"qkms/root-commit-key/v1"), 32)
    session = ("5f0c", "spiffe://qkms.dev/service/a", "spiffe://qkms.dev/service/b")
    texts = [text.encode() for text in session]
    return {
        "title": title,
        "previous": previous,
        "local": local,
        "seeds": [{"key_id": key_id, "key": seeds[key_id]} for key_id in order],
        "cluster_id": "dev",
        "epoch": 7,
        "session": {"suite": 1, "session_id": session[0], "initiator": session[1], "responder": session[2]},
        "root": root,
        "commitment": mac(commit_key, lp(b"qkms/root-commitment/v1", b"dev", number(7))),
        "kek": expand(root, lp(b"qkms/kek/v1", number(7)), 32),
        "session_psk": expand(branch, lp(b"qkms/session-psk/v1", number(1), *texts), 32),
    }


def root_cases() -> list[Case]:
    one, two = sample("QKD key one", 32), sample("QKD key two", 32)
    both = {"a0": one, "b1": two}
    title = "two seeds given against their order, and a previous root"
    good = root_case(title, sample("R", 32), both, ["b1", "a0"])
    return [
        root_case("no seed, no previous root: local randomness alone", None, {}, []),
        root_case("one seed", None, {"a0": one}, ["a0"]),
        good,
        {**good, "title": "the same QKD key twice", "seeds": good["seeds"] * 2, "fails": "INVALID_INPUT"},
        {**good, "title": "local randomness of 31 bytes", "local": good["local"][1:], "fails": "INVALID_INPUT"},
        {**good, "title": "another root was committed to", "commitment": ZERO, "fails": "COMMITMENT_MISMATCH"},
        {**good, "title": "committed to in another epoch", "epoch": 8, "fails": "COMMITMENT_MISMATCH"},
        {**good, "title": "committed to by another cluster", "cluster_id": "d", "fails": "COMMITMENT_MISMATCH"},
    ]


def share_case(title: str, psk: bytes | None, qkd_key_id: str) -> Case:
    known = first_mlkem768()
    scalar, ephemeral = sample("node's scalar", 32), sample("leader's scalar", 32)
    public, sender = x25519(scalar, BASE_POINT), x25519(ephemeral, BASE_POINT)
    root = sample("the root", 32)
    prk = mac(psk or ZERO, known["ss"] + x25519(ephemeral, public))
    bound = lp(
        b"qkms/share/v1", b"dev", number(7), b"node-1", b"node-2", qkd_key_id.encode(),
        sha256(lp(known["pk"], public, known["ct"], sender)),
    )  # fmt: skip
    return {
        "title": title,
        "cluster_id": "dev",
        "epoch": 7,
        "leader_id": "node-1",
        "node_id": "node-2",
        "qkd_key_id": qkd_key_id,
        "private": known["d"] + known["z"] + scalar,
        "psk": psk,
        "mlkem_ciphertext": known["ct"],
        "x25519_public": sender,
        "sealed": gcm_seal(expand(prk, bound, 32), bytes(12), root),
        "root": root,
    }


def share_cases() -> list[Case]:
    psk = sample("psk", 32)
    good = share_case("under a QKD key, ML-KEM-768 and X25519", psk, "5c1d")
    altered: dict[str, Case] = {
        "another QKD key (a KME that lies)": {"psk": sample("other", 32)},
        "QKD key of another key_ID": {"qkd_key_id": "5c1e"},
        "stripped of its QKD key (downgrade)": {"qkd_key_id": "", "psk": None},
        "share of another cluster": {"cluster_id": "prod"},
        "share of another epoch": {"epoch": 8},
        "share by another leader": {"leader_id": "node-3"},
        "share for another node": {"node_id": "node-3"},
        "names joined otherwise": {"leader_id": "node-1n", "node_id": "ode-2"},
        "another private key": {"private": sample("private", 96)},
        "altered ML-KEM ciphertext": {"mlkem_ciphertext": good["mlkem_ciphertext"][:-1] + b"\0"},
        "all-zero X25519 key": {"x25519_public": ZERO},
        "top bit of the X25519 key, which X25519 ignores": {
            "x25519_public": good["x25519_public"][:31] + bytes([good["x25519_public"][31] ^ 0x80])
        },
        "altered sealed root": {"sealed": bytes([good["sealed"][0] ^ 1]) + good["sealed"][1:]},
        "truncated sealed root": {"sealed": good["sealed"][:-1]},
        "no sealed root": {"sealed": b""},
    }
    return [
        good,
        share_case("no QKD key: grade PQC", None, ""),
        *({**good, "title": title, **change, "fails": "SHARE_REJECTED"} for title, change in altered.items()),
        {**good, "title": "a QKD key without its key_ID", "qkd_key_id": "", "fails": "INVALID_INPUT"},
        {**good, "title": "a key_ID without its QKD key", "psk": None, "fails": "INVALID_INPUT"},
    ]


if __name__ == "__main__":
    publish(
        {
            "root.json": ("Root epochs: mixing, commitment, derivation. Bytes are hexadecimal.", root_cases()),
            "share.json": ("The root sealed for one node. Bytes are hexadecimal.", share_cases()),
        }
    )
