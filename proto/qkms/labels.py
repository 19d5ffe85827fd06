"""Every domain separation label of qkms, once, and the encoding that joins inputs.

A key derivation or authenticated input begins with its own label, so that no
output of one construction can be presented as that of another. All labels end
in the version of the construction they name: a changed construction changes
its label.
"""

KEK = b"qkms/kek/v1"
ROOT_COMMITMENT = b"qkms/root-commitment/v1"
COMMIT_KEY = b"qkms/root-commit-key/v1"
SHARE = b"qkms/share/v1"
VERSION_WRAP = b"qkms/version-wrap/v1"
CHECK_VALUE = b"qkms/check-value/v1"
CONTEXT = b"qkms/context/v1"
ENCRYPTION_KEY = b"qkms/encryption-key/v1"
DERIVED_KEY = b"qkms/derived-key/v1"
SEALED_DATA = b"qkms/sealed-data/v1"
LOCAL_SEAL = b"qkms/local-seal/v1"
SESSION_BRANCH = b"qkms/session-branch/v1"
SESSION_PSK = b"qkms/session-psk/v1"
SESSION_TRANSCRIPT = b"qkms/session-transcript/v1"
SESSION_KEYS = b"qkms/session-keys/v1"
SESSION_FINGERPRINT = b"qkms/session-fingerprint/v1"

MAX_PART = 0xFFFF


def lp(*parts: bytes | str | int) -> bytes:
    """Joins parts unambiguously: each as a 16-bit big-endian byte length, then the bytes.

    Text is UTF-8, an integer is 8 bytes big-endian. Without the lengths, "ab" + "c" and
    "a" + "bc" would be one input. Raises ValueError for a part over 65535 bytes or a
    negative integer.
    """
    joined = bytearray()
    for part in parts:
        data = _bytes(part)
        if len(data) > MAX_PART:
            raise ValueError(f"a part of {len(data)} bytes does not fit a 16-bit length")
        joined += len(data).to_bytes(2, "big")
        joined += data
    return bytes(joined)


def _bytes(part: bytes | str | int) -> bytes:
    if isinstance(part, str):
        return part.encode()
    if isinstance(part, int):
        if part < 0:
            raise ValueError(f"{part} is negative; only counts and numbers from 0 are encoded")
        return part.to_bytes(8, "big")
    return bytes(part)
