"""The table of algorithms: name in protocol and ledger -> scheme, by what a key of it can do.

Each name is a value of KeyAlgorithm and enters the wrap's AAD: a name never
changes its meaning. A key has one purpose (NIST SP 800-57 Part 1, 5.2), so RSA
is there twice.
"""

from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import ec, mldsa, mlkem
from cryptography.hazmat.primitives.hashes import SHA256, SHA384

from qkms_node.keys.kem import MlKem, X25519MlKem768
from qkms_node.keys.mac import Hmac
from qkms_node.keys.rsa import RsaOaep, RsaPss
from qkms_node.keys.scheme import (
    KemScheme,
    MacScheme,
    PublicKeyEncryptionScheme,
    Scheme,
    SealingScheme,
    SignatureScheme,
)
from qkms_node.keys.signing import Ecdsa, Ed25519, MlDsa
from qkms_node.keys.slh_dsa import SLH_DSA_SHA2_128F, SLH_DSA_SHA2_192F

SEALING: Mapping[str, SealingScheme] = {"AES_256_GCM": SealingScheme()}

MACS: Mapping[str, MacScheme] = {"HMAC_SHA256": Hmac("sha256"), "HMAC_SHA512": Hmac("sha512")}

SIGNATURES: Mapping[str, SignatureScheme] = {
    "ED25519": Ed25519(),
    "ECDSA_P256_SHA256": Ecdsa(ec.SECP256R1(), SHA256()),
    "ECDSA_P384_SHA384": Ecdsa(ec.SECP384R1(), SHA384()),
    "RSA_3072_PSS_SHA256": RsaPss(3072),
    "RSA_4096_PSS_SHA256": RsaPss(4096),
    "ML_DSA_44": MlDsa(mldsa.MLDSA44PrivateKey),
    "ML_DSA_65": MlDsa(mldsa.MLDSA65PrivateKey),
    "ML_DSA_87": MlDsa(mldsa.MLDSA87PrivateKey),
    "SLH_DSA_SHA2_128F": SLH_DSA_SHA2_128F,
    "SLH_DSA_SHA2_192F": SLH_DSA_SHA2_192F,
}

PUBLIC_KEY_ENCRYPTION: Mapping[str, PublicKeyEncryptionScheme] = {
    "RSA_3072_OAEP_SHA256": RsaOaep(3072),
    "RSA_4096_OAEP_SHA256": RsaOaep(4096),
}

KEMS: Mapping[str, KemScheme] = {
    "ML_KEM_768": MlKem(mlkem.MLKEM768PrivateKey, 1088),
    "ML_KEM_1024": MlKem(mlkem.MLKEM1024PrivateKey, 1568),
    "X25519MLKEM768": X25519MlKem768(),
}

ENCRYPTION: Mapping[str, SealingScheme | PublicKeyEncryptionScheme] = {**SEALING, **PUBLIC_KEY_ENCRYPTION}

WITH_PUBLIC_KEY: Mapping[str, Scheme] = {**SIGNATURES, **PUBLIC_KEY_ENCRYPTION, **KEMS}

ALGORITHMS: Mapping[str, Scheme] = {**SEALING, **MACS, **WITH_PUBLIC_KEY}
