"""The private key of an import, sealed for the ledger, and material between its forms inside and outside.

    k      = HKDF-Expand(KEK_e, LP(label, key, import id, method, e), 32)
    sealed = AES-256-GCM(k, nonce 0, private key)

`k` serves once, since an import id is drawn once, so the fixed nonce is safe.
Key and import are bound: a sealed key moved to another record does not open.
"""

from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qkms import labels
from qkms.hkdf import expand
from qkms.wrapping import Method, WrappingPrivateKey
from qkms_node.keys.algorithms import ALGORITHMS
from qkms_node.keys.encoding import ENCODINGS
from qkms_node.keys.errors import MaterialRejected, WrapRejected
from qkms_node.keys.scheme import RandomBytes
from qkms_node.keys.secret import KeyEncryptionKey, VersionSecret

_NONCE = bytes(12)


@dataclass(frozen=True)
class ImportBinding:
    """What a sealed import key is bound to. `import_id` is a fresh UUID."""

    key_id: str
    import_id: str
    method: Method
    epoch: int

    @property
    def purpose(self) -> str:
        """What material is wrapped for: the resource name of the import."""
        return f"keys/{self.key_id}/imports/{self.import_id}"


def seal_import_key(kek: KeyEncryptionKey, private: WrappingPrivateKey, bound: ImportBinding) -> bytes:
    """The private key sealed, 16 bytes longer than its encoding."""
    return _cipher(kek, bound).encrypt(_NONCE, private.to_bytes(), None)


def open_import_key(kek: KeyEncryptionKey, sealed: bytes, bound: ImportBinding) -> WrappingPrivateKey:
    """The inverse of `seal_import_key`. Raises WrapRejected."""
    try:
        return WrappingPrivateKey.from_bytes(bound.method, _cipher(kek, bound).decrypt(_NONCE, sealed, None))
    except InvalidTag as error:
        raise WrapRejected(f"the key of {bound.purpose} does not open under root epoch {bound.epoch}") from error


def imported_material(algorithm: str, outside: bytes, random: RandomBytes) -> VersionSecret:
    """Bytes from outside as a version's material. RSA takes a second. Raises MaterialRejected."""
    try:
        return ENCODINGS[algorithm].take_in(outside, ALGORITHMS[algorithm], random)
    except MaterialRejected as error:
        raise MaterialRejected(f"this is no material for {algorithm}: {error}") from None


def exported_material(algorithm: str, material: VersionSecret) -> bytes:
    """A version's material in the form that import takes. Secret."""
    return ENCODINGS[algorithm].give_out(material)


def _cipher(kek: KeyEncryptionKey, bound: ImportBinding) -> AESGCM:
    info = labels.lp(labels.IMPORT_KEY_SEAL, bound.key_id, bound.import_id, int(bound.method), bound.epoch)
    return AESGCM(expand(kek.reveal(), info, 32))
