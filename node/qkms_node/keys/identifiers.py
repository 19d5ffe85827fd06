"""AlgorithmIdentifiers (DER) of private keys; those of the public keys are the same."""

from qkms import der


def _identifier(algorithm: str, parameters: bytes = b"") -> bytes:
    return der.tlv(der.SEQUENCE, der.tlv(der.OBJECT_IDENTIFIER, bytes.fromhex(algorithm)) + parameters)


def _elliptic(curve: str) -> bytes:
    return _identifier("2a8648ce3d0201", der.tlv(der.OBJECT_IDENTIFIER, bytes.fromhex(curve)))


def _nist(numbers: str) -> bytes:
    # 2.16.840.1.101.3.4: .3 signatures, .4 KEMs
    return _identifier("60864801650304" + numbers)


ED25519 = _identifier("2b6570")
P256 = _elliptic("2a8648ce3d030107")
P384 = _elliptic("2b81040022")
RSA = _identifier("2a864886f70d010101", b"\x05\x00")
ML_DSA_44 = _nist("0311")
ML_DSA_65 = _nist("0312")
ML_DSA_87 = _nist("0313")
SLH_DSA_SHA2_128F = _nist("0315")
SLH_DSA_SHA2_192F = _nist("0317")
ML_KEM_768 = _nist("0402")
ML_KEM_1024 = _nist("0403")

NAMES = {
    ED25519: "Ed25519",
    P256: "elliptic curve P-256",
    P384: "elliptic curve P-384",
    RSA: "RSA (rsaEncryption)",
    ML_DSA_44: "ML-DSA-44",
    ML_DSA_65: "ML-DSA-65",
    ML_DSA_87: "ML-DSA-87",
    SLH_DSA_SHA2_128F: "SLH-DSA-SHA2-128f",
    SLH_DSA_SHA2_192F: "SLH-DSA-SHA2-192f",
    ML_KEM_768: "ML-KEM-768",
    ML_KEM_1024: "ML-KEM-1024",
}
"""What keys under an identifier are, in words."""
