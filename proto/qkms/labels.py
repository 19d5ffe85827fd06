"""Every domain separation label of qkms, once, and the encoding that joins inputs.

Every expansion, MAC, transcript and authenticated input begins with its own
label, so that no output of one construction can be presented as that of
another. A label ends in the version of the construction it names: a changed
construction changes its label. Extractions carry none: their input is key
material, and their output only ever enters a labelled expansion.
"""

from qkms.errors import InvalidInput

# Root epochs (qkms_node.keys.root, .share)
KEK = b"qkms/kek/v1"
COMMIT_KEY = b"qkms/root-commit-key/v1"
ROOT_COMMITMENT = b"qkms/root-commitment/v1"
SHARE = b"qkms/share/v1"
# Key versions and data (qkms_node.keys.version, .data)
VERSION_WRAP = b"qkms/version-wrap/v1"
CHECK_VALUE = b"qkms/check-value/v1"
CONTEXT = b"qkms/context/v1"
ENCRYPTION_KEY = b"qkms/encryption-key/v1"
DERIVED_KEY = b"qkms/derived-key/v2"
SEALED_DATA = b"qkms/sealed-data/v1"
# Material brought in and out (qkms.wrapping, qkms_node.keys.importing)
MATERIAL_WRAP = b"qkms/material-wrap/v1"
IMPORT_KEY_SEAL = b"qkms/import-key-seal/v1"
# Keys of encryptors (qkms_node.keys.sae_key)
SAE_KEY_SEAL = b"qkms/sae-key-seal/v1"
# Hybrid encapsulation to a key (qkms.hybrid)
HYBRID_KEM = b"qkms/hybrid-kem/v1"
# Traffic between nodes under QKD keys (qkms_node.keys.node_link)
NODE_LINK = b"qkms/node-link/v1"
NODE_LINK_PROOF = b"qkms/node-link-proof/v1"
# A node's own store (qkms_node.keys.local)
LOCAL_SEAL = b"qkms/local-seal/v1"
PASSPHRASE_SEAL = b"qkms/passphrase-seal/v1"
HSM_SEAL = b"qkms/hsm-seal/v1"
# Passphrases (qkms.passphrase)
PASSPHRASE_KEYS = b"qkms/passphrase-keys/v1"
# What is sealed to a hybrid key (qkms.sealed), and its purposes
SEALED_TO = b"qkms/sealed-to/v1"
RECOVERY_ROOT = b"qkms/recovery-root/v1"
RECOVERY_HANDOVER = b"qkms/recovery-handover/v1"
BACKUP_KEY = b"qkms/backup-key/v1"
RESTORE_HANDOVER = b"qkms/restore-handover/v1"
# Recovery shares (qkms.recovery)
RECOVERY_KEY = b"qkms/recovery-key/v1"
RECOVERY_CHECK = b"qkms/recovery-check/v1"
RECOVERY_CHECKSUM = b"qkms/recovery-checksum/v1"
# Backups (qkms.backup)
BACKUP_STREAM = b"qkms/backup-stream/v1"
BACKUP_PASSPHRASE_KEY = b"qkms/backup-passphrase-key/v1"
# Sessions (qkms.session, qkms_node.keys.root)
SESSION_BRANCH = b"qkms/session-branch/v1"
SESSION_PSK = b"qkms/session-psk/v1"
SESSION_TRANSCRIPT = b"qkms/session-transcript/v1"
SESSION_KEYS = b"qkms/session-keys/v1"
SESSION_CONFIRM = b"qkms/session-confirm/v1"
SESSION_FINGERPRINT = b"qkms/session-fingerprint/v1"
# Keys of tunnels (qkms_client.agent)
AGENT_SESSION = b"qkms/agent-session/v1"
AGENT_KEY = b"qkms/agent-key/v1"
# Audit (qkms.audit)
AUDIT_MUTATIONS = b"qkms/audit-mutations/v1"
AUDIT_CALLS = b"qkms/audit-calls/v1"
AUDIT_LINK = b"qkms/audit-link/v1"
AUDIT_KEY = b"qkms/audit-key/v1"
AUDIT_ANCHOR = b"qkms/audit-anchor/v1"

MAX_PART = 0xFFFF
MAX_NUMBER = 0xFFFF_FFFF_FFFF_FFFF


def lp(*parts: bytes | bytearray | memoryview | str | int) -> bytes:
    """Joins parts unambiguously: each as a 16-bit big-endian byte length, then the bytes.

    Text is UTF-8, a number is 8 bytes big-endian. Without the lengths, "ab" + "c" and
    "a" + "bc" would be one input. Raises InvalidInput for a part over 65535 bytes, a
    number outside 0 to 2^64 - 1, or text that is not valid Unicode.
    """
    joined = bytearray()
    for part in parts:
        data = _bytes(part)
        if len(data) > MAX_PART:
            raise InvalidInput(f"a part of {len(data)} bytes does not fit a 16-bit length")
        joined += len(data).to_bytes(2, "big")
        joined += data
    return bytes(joined)


def _bytes(part: bytes | bytearray | memoryview | str | int) -> bytes | bytearray | memoryview:
    if isinstance(part, str):
        try:
            return part.encode()
        except UnicodeEncodeError:
            # Not chained: the error would carry the text.
            raise InvalidInput("a text is not valid Unicode: it has a lone surrogate") from None
    if isinstance(part, int):
        if not 0 <= part <= MAX_NUMBER:
            raise InvalidInput(f"{part} is not encoded; numbers are 0 to {MAX_NUMBER}")
        return part.to_bytes(8, "big")
    return part
