"""CryptoService: signatures, MACs, public keys, key encapsulation."""

from qkms_client.consistency import Consistency
from qkms_client.flows import kem, signing
from qkms_client.secret import Decapsulated, Encapsulated
from qkms_client.sync.runner import Runner
from qkms_client.types import Key, Mac, PublicKey, Signature, Verification


class SigningCalls(Runner):
    """What verifies or decapsulates needs the version that made it: pass the result of `sign`, `mac` or
    `encapsulate` as it is, or its bytes and `version`."""

    def sign(
        self,
        key: str | Key,
        message: bytes,
        *,
        digested: bool = False,
        context: bytes = b"",
        p1363: bool = False,
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> Signature:
        """Signs up to 65536 bytes with the primary version. Raises KeyNotFound, AlgorithmUnsuitable,
        VersionDisabled, InvalidField.

        `digested`: `message` is its digest already, for messages of any length (SHA-256 or SHA-384
        of ECDSA and RSA, mu of ML-DSA). `context`: up to 255 bytes for ML-DSA and SLH-DSA. `p1363`:
        ECDSA as r || s and not in DER.
        """
        manner = signing.Manner(digested, context, p1363)
        return self._run(signing.sign(self._rules, key, message, manner, consistency, timeout))

    def verify(
        self,
        key: str | Key,
        message: bytes,
        signature: bytes | Signature,
        *,
        version: int | None = None,
        digested: bool = False,
        context: bytes = b"",
        p1363: bool = False,
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> Verification:
        """Whether a signature is that of the message; true or false as it is. Raises ValueError without
        a version, VersionNotFound, VersionDisabled, AlgorithmUnsuitable. Options as for sign.
        """
        manner = signing.Manner(digested, context, p1363)
        return self._run(
            signing.verify(self._rules, key, message, signature, version, manner, consistency, timeout)
        )

    def mac(
        self,
        key: str | Key,
        data: bytes,
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> Mac:
        """Authenticates up to 65536 bytes with the primary version. Raises AlgorithmUnsuitable."""
        return self._run(signing.mac(self._rules, key, data, consistency, timeout))

    def verify_mac(
        self,
        key: str | Key,
        data: bytes,
        mac: bytes | Mac,
        *,
        version: int | None = None,
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> Verification:
        """Whether a MAC is that of the data; true or false as it is. Raises ValueError without a version."""
        return self._run(signing.verify_mac(self._rules, key, data, mac, version, consistency, timeout))

    def get_public_key(
        self,
        key: str | Key,
        *,
        version: int | None = None,
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> PublicKey:
        """The public half of a version, the primary one by default. Other libraries verify with it,
        encrypt to it or encapsulate to it."""
        return self._run(signing.get_public_key(self._rules, key, version, consistency, timeout))

    def encapsulate(
        self, key: str | Key, *, consistency: Consistency | None = None, timeout: float | None = None
    ) -> Encapsulated:
        """A fresh shared secret and its ciphertext for the primary version. Raises AlgorithmUnsuitable."""
        return self._run(kem.encapsulate(self._rules, key, consistency, timeout))

    def decapsulate(
        self,
        key: str | Key,
        ciphertext: bytes | Encapsulated,
        *,
        version: int | None = None,
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> Decapsulated:
        """The shared secret of a ciphertext. Raises ValueError without a version, CiphertextMalformed for
        another length. An altered ciphertext gives another secret."""
        return self._run(kem.decapsulate(self._rules, key, ciphertext, version, consistency, timeout))
