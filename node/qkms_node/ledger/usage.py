"""Which version of a key may be used, and for what: the one place that decides it. Pure.

NIST SP 800-57 Part 1 Rev. 5, 5.3: to apply protection (encrypt, sign, derive
for new use) takes more than to process what was protected before.
"""

from enum import Enum

from qkms_node.ledger.key_conditions import require_enabled
from qkms_node.ledger.records import KeyRecord, VersionRecord, VersionState
from qkms_node.ledger.state import Refusal, State
from qkms_node.ledger.transitions import DECRYPTS, ENCRYPTS


class Use(Enum):
    """What a version is wanted for."""

    PROTECT = "protect"
    PROCESS = "process"


def version_for(state: State, key_id: str, number: int | None, use: Use) -> tuple[KeyRecord, VersionRecord]:
    """The key and its version `number` (None: the primary one), if it may be used so.

    Refuses with KEY_NOT_FOUND, KEY_DELETED, KEY_DISABLED, NO_PRIMARY_VERSION, VERSION_NOT_FOUND,
    VERSION_STAGED, VERSION_DISABLED, VERSION_COMPROMISED, VERSION_DESTROYED or VERSION_TOO_OLD.
    """
    key = state.key(key_id)
    require_enabled(key)
    if number is None and not key.primary:
        raise Refusal("NO_PRIMARY_VERSION", f"keys/{key_id} has no active version yet; stage or import one")
    version = state.version(key_id, key.primary if number is None else number)
    _require_state(key, version, use)
    least = key.min_decrypt if use is Use.PROCESS else max(key.min_decrypt, key.min_encrypt)
    if version.version < least:
        raise Refusal(
            "VERSION_TOO_OLD",
            f"keys/{key_id}/versions/{version.version} is below {least}, the least version that may {use.value}",
            least=least,
        )
    return key, version


def _require_state(key: KeyRecord, version: VersionRecord, use: Use) -> None:
    if version.state in (ENCRYPTS if use is Use.PROTECT else DECRYPTS):
        return
    name = f"keys/{key.key_id}/versions/{version.version}"
    match version.state:
        case VersionState.PRE_ACTIVATION:
            raise Refusal("VERSION_STAGED", f"{name} is staged: it is not used before it is activated")
        case VersionState.COMPROMISED:
            if use is Use.PROCESS and key.allow_compromised_decrypt:
                return
            raise Refusal(
                "VERSION_COMPROMISED",
                f"{name} is compromised: it never protects again, and decrypts only where the key has "
                "allow_compromised_decrypt",
            )
        case VersionState.DESTROY_SCHEDULED | VersionState.DESTROYED:
            raise Refusal(
                "VERSION_DESTROYED", f"{name} is {version.state.name} and is not used", state=version.state.name
            )
        case _:
            raise Refusal(
                "VERSION_DISABLED",
                f"{name} is {version.state.name}: it cannot {use.value}",
                state=version.state.name,
            )
