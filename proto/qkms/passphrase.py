"""Keys from a passphrase: Argon2id (RFC 9106), with its parameters beside what they protect.

    stretched   = Argon2id(passphrase, salt, parameters), 32 bytes
    key || check = HKDF-Expand(stretched, LP(label, encoded parameters), 64)

`check` is public and tells a wrong passphrase from altered data. It also commits
to the passphrase: under AES-GCM alone one crafted file could be tried against
many passphrases at once (partitioning oracles). Bounds on the parameters are
part of reading them: a planted file must not make a node allocate all memory.
"""

import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from qkms import labels
from qkms.errors import InvalidInput, PassphraseRejected
from qkms.hkdf import expand
from qkms.redacted import Redacted

SALT_BYTES = 16
CHECK_BYTES = 32
ENCODED_BYTES = 9 + SALT_BYTES
MIN_MEMORY_KIB = 8 * 1024
MAX_MEMORY_KIB = 4 * 1024 * 1024


@dataclass(frozen=True)
class Argon2Parameters:
    """Memory in KiB, passes and lanes, and a salt of 16 random bytes. Raises InvalidInput out of bounds.

    The usual choice is RFC 9106's second: 64 MiB, 3 passes, 4 lanes.
    """

    salt: bytes
    memory_kib: int = 64 * 1024
    passes: int = 3
    lanes: int = 4

    def __post_init__(self) -> None:
        if len(self.salt) != SALT_BYTES:
            raise InvalidInput(f"a salt has {SALT_BYTES} bytes, not {len(self.salt)}")
        if not MIN_MEMORY_KIB <= self.memory_kib <= MAX_MEMORY_KIB:
            raise InvalidInput(f"{self.memory_kib} KiB of memory, it must be {MIN_MEMORY_KIB} to {MAX_MEMORY_KIB}")
        if not 1 <= self.passes <= 64 or not 1 <= self.lanes <= 64:
            raise InvalidInput("Argon2id takes 1 to 64 passes and 1 to 64 lanes here")

    def encode(self) -> bytes:
        """25 bytes: memory (4), passes (4), lanes (1), salt (16)."""
        return (
            self.memory_kib.to_bytes(4, "big") + self.passes.to_bytes(4, "big") + bytes([self.lanes]) + self.salt
        )

    @classmethod
    def decode(cls, data: bytes) -> "Argon2Parameters":
        """The inverse of `encode`. Raises InvalidInput."""
        if len(data) != ENCODED_BYTES:
            raise InvalidInput(f"Argon2id parameters are {ENCODED_BYTES} bytes, not {len(data)}")
        return cls(data[9:], int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big"), data[8])


@dataclass(frozen=True, repr=False, eq=False)
class PassphraseKeys(Redacted):
    """`key` (32 bytes) seals; `check` (32 bytes) is public."""

    key: bytes
    check: bytes

    def verify(self, check: bytes) -> None:
        """Raises PassphraseRejected unless `check` is this passphrase's. Constant time."""
        if not hmac.compare_digest(self.check, check):
            raise PassphraseRejected("this is not the passphrase it was sealed under; try again")


def passphrase_keys(passphrase: bytes, parameters: Argon2Parameters) -> PassphraseKeys:
    """Takes the time and memory of the parameters. Raises InvalidInput for an empty passphrase."""
    if not passphrase:
        raise InvalidInput("the passphrase is empty")
    argon2 = Argon2id(
        salt=parameters.salt,
        length=32,
        iterations=parameters.passes,
        lanes=parameters.lanes,
        memory_cost=parameters.memory_kib,
    )
    stretched = argon2.derive(passphrase)
    block = expand(stretched, labels.lp(labels.PASSPHRASE_KEYS, parameters.encode()), 64)
    return PassphraseKeys(block[:32], block[32:])
