"""Refusals of the keys layer: a stable `code` each, of the family of `qkms.errors`; never a secret."""

from qkms.errors import CryptoError


class SecretWiped(CryptoError):
    """A secret was used after it was wiped. This is a fault of the program."""

    code = "SECRET_WIPED"


class CommitmentMismatch(CryptoError):
    """A root is not the one that was committed to. Nothing may be derived from it."""

    code = "COMMITMENT_MISMATCH"


class ShareRejected(CryptoError):
    """A share does not open: made for another node or epoch, altered, or under another QKD key."""

    code = "SHARE_REJECTED"


class WrapRejected(CryptoError):
    """A wrapped key version does not open: altered, or of another key, version or epoch."""

    code = "WRAP_REJECTED"


class MaterialRejected(CryptoError):
    """Material from outside that is not what its key needs: another algorithm or size, malformed, weak."""

    code = "MATERIAL_REJECTED"


class CheckValueMismatch(CryptoError):
    """A key version's material or public half is not the one its check value was made of."""

    code = "CHECK_VALUE_MISMATCH"


class InputRefused(CryptoError):
    """An input that the algorithm of a key does not take; `field` is its name in the request."""

    code = "INPUT_REFUSED"

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field
        self.problem = problem


class PlaintextTooLong(CryptoError):
    """A plaintext that does not fit the algorithm; `limit` is in bytes."""

    code = "PLAINTEXT_TOO_LONG"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"is {size} bytes, the limit is {limit}")
        self.limit = limit


class CiphertextMalformed(CryptoError):
    """Not a ciphertext of this format: truncated, or made by something else."""

    code = "CIPHERTEXT_MALFORMED"


class CiphertextRejected(CryptoError):
    """A ciphertext that does not verify: altered, or with another key, context or AAD."""

    code = "CIPHERTEXT_REJECTED"


class LocalSealRejected(CryptoError):
    """A sealed store does not open: another key file, another node, or altered."""

    code = "LOCAL_SEAL_REJECTED"


class LinkRecordRejected(CryptoError):
    """A record of a node link does not open; the connection is of no use any more."""

    code = "LINK_RECORD_REJECTED"
