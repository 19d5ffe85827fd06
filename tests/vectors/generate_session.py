"""Vectors of the session key schedule: `python -m tests.vectors.generate_session [--check]`.

The initiator's ML-KEM key and the ciphertext are count 0 of the known answers
in `cryptography_vectors`.
"""

from tests.vectors.known_answers import first_mlkem768
from tests.vectors.reference import expand, lp, mac, number, sample, sha256, x25519
from tests.vectors.writing import Case, publish

BASE_POINT = (9).to_bytes(32, "little")


def session_case(title: str, *, key_ids: list[str], epoch: int, psk: bytes) -> Case:
    known = first_mlkem768()
    scalar_i, scalar_r = sample("initiator's scalar", 32), sample("responder's scalar", 32)
    x_i, x_r = x25519(scalar_i, BASE_POINT), x25519(scalar_r, BASE_POINT)
    nonce_i, nonce_r = sample("initiator's nonce", 32), sample("responder's nonce", 32)
    session_id = "0d2cf7d8-2d6b-4a0e-a2a4-0c4b9f9e7a11"
    initiator, responder = "spiffe://qkms.dev/service/payments", "spiffe://qkms.dev/service/ledger"
    th = sha256(
        lp(
            b"qkms/session-transcript/v1", number(1), session_id.encode(), initiator.encode(), responder.encode(),
            number(epoch), lp(*(key_id.encode() for key_id in sorted(key_ids))),
            known["pk"], known["ct"], x_i, x_r, nonce_i, nonce_r,
        )
    )  # fmt: skip
    prk = mac(psk, known["ss"] + x25519(scalar_i, x_r))
    block = expand(prk, lp(b"qkms/session-keys/v1", number(1), th), 128)
    i2r, r2i, confirm, exporter = (block[i : i + 32] for i in range(0, 128, 32))
    return {
        "title": title,
        "session_id": session_id,
        "initiator": initiator,
        "responder": responder,
        "epoch": epoch,
        "qkd_key_ids": key_ids,
        "suite": 1,
        "initiator_private": known["d"] + known["z"] + scalar_i,
        "initiator_nonce": nonce_i,
        "mlkem_ciphertext": known["ct"],
        "responder_x25519": x_r,
        "responder_nonce": nonce_r,
        "psk": psk,
        "transcript_hash": th,
        "initiator_to_responder": i2r,
        "responder_to_initiator": r2i,
        "confirm": confirm,
        "exporter": exporter,
        "initiator_tag": mac(confirm, lp(b"qkms/session-confirm/v1", b"initiator", th)),
        "responder_tag": mac(confirm, lp(b"qkms/session-confirm/v1", b"responder", th)),
        "fingerprint": expand(exporter, lp(b"qkms/session-fingerprint/v1"), 16),
    }


def session_cases() -> list[Case]:
    psk = sample("psk", 32)
    good = session_case("two QKD keys, given against their order", key_ids=["b1", "a0"], epoch=7, psk=psk)
    rejected: dict[str, Case] = {
        "a psk of another root": {"psk": sample("other psk", 32)},
        "another epoch": {"epoch": 8},
        "QKD key ids joined otherwise": {"qkd_key_ids": ["a0b1"]},
        "another initiator": {"initiator": "spiffe://qkms.dev/service/stranger"},
        "the names changed over": {"initiator": good["responder"], "responder": good["initiator"]},
        "the responder's nonce altered on its way": {"responder_nonce": bytes(32)},
        "the ML-KEM ciphertext altered on its way": {"mlkem_ciphertext": bytes(1088)},
        "the initiator's own tag sent back (reflection)": {"responder_tag": good["initiator_tag"]},
        "a truncated tag": {"responder_tag": good["responder_tag"][:16]},
        "no tag": {"responder_tag": b""},
        "an unknown suite": {"suite": 2},
        "a nonce of 31 bytes": {"responder_nonce": bytes(31)},
    }
    kem: dict[str, Case] = {
        "an all-zero X25519 key": {"responder_x25519": bytes(32)},
        "an X25519 key of 31 bytes": {"responder_x25519": bytes(31)},
        "an ML-KEM ciphertext of 1087 bytes": {"mlkem_ciphertext": bytes(1087)},
    }
    return [
        good,
        session_case("no QKD key: grade PQC", key_ids=[], epoch=1, psk=sample("psk of epoch 1", 32)),
        *({**good, "title": title, **change, "fails": "SESSION_REJECTED"} for title, change in rejected.items()),
        *({**good, "title": title, **change, "fails": "KEM_REJECTED"} for title, change in kem.items()),
        {**good, "title": "a psk of 31 bytes", "psk": psk[1:], "fails": "INVALID_INPUT"},
    ]


if __name__ == "__main__":
    description = "The session key schedule, as the initiator runs it. Bytes are hexadecimal."
    publish({"session.json": (description, session_cases())})
