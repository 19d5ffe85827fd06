"""Vectors of X25519MLKEM768 as a KEM: `python -m tests.vectors.generate_hybrid [--check]`.

ML-KEM is not computed again: keys, ciphertext and secret are those of count 0
of the known answers in `cryptography_vectors`.
"""

from tests.vectors.known_answers import first_mlkem768
from tests.vectors.reference import expand, lp, mac, sample, sha256, x25519
from tests.vectors.writing import Case, publish

BASE_POINT = (9).to_bytes(32, "little")
SMALL_ORDER = bytes(32)


def hybrid_case(title: str, rejected: bool = False, top_bit: int = 0) -> Case:
    known = first_mlkem768()
    scalar, ephemeral = sample("receiver's scalar", 32), sample("sender's scalar", 32)
    public = x25519(scalar, BASE_POINT)
    sender = x25519(ephemeral, BASE_POINT)
    sender = sender[:31] + bytes([sender[31] ^ top_bit])
    mlkem_ciphertext, mlkem_secret = (known["ct_n"], known["ss_n"]) if rejected else (known["ct"], known["ss"])
    prk = mac(bytes(32), mlkem_secret + x25519(scalar, sender))
    exchange = sha256(lp(known["pk"], public, mlkem_ciphertext, sender))
    return {
        "title": title,
        "private": known["d"] + known["z"] + scalar,
        "public": known["pk"] + public,
        "ciphertext": mlkem_ciphertext + sender,
        "secret": expand(prk, lp(b"qkms/hybrid-kem/v1", exchange), 32),
    }


def hybrid_cases() -> list[Case]:
    good = hybrid_case("a secret encapsulated")
    ciphertext = good["ciphertext"]
    refused = {
        "a byte short": ciphertext[:-1],
        "a byte long": ciphertext + b"\0",
        "empty": b"",
        "all-zero X25519 key": ciphertext[:-32] + SMALL_ORDER,
    }
    return [
        good,
        hybrid_case("rejected by ML-KEM: another secret, no error", rejected=True),
        hybrid_case("top bit of the X25519 key, which X25519 ignores: another secret", top_bit=0x80),
        *({**good, "title": title, "ciphertext": c, "fails": "KEM_REJECTED"} for title, c in refused.items()),
    ]


if __name__ == "__main__":
    publish({"hybrid.json": ("X25519MLKEM768 as a KEM. Bytes are hexadecimal.", hybrid_cases())})
