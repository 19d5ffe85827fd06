"""Resource names: short forms in, full names out."""

from uuid import UUID

from qkms_client.types import Key, KeyVersion


def key_name(key: str | Key) -> str:
    """`payments` or `keys/payments` or a Key as `keys/payments`."""
    if isinstance(key, Key):
        return key.name
    return key if key.startswith("keys/") else f"keys/{key}"


def version_name(key: str | Key | KeyVersion, version: int | None) -> str:
    """The name of a version: of a key and a number, or of a KeyVersion alone.

    Raises ValueError when the number is missing.
    """
    if isinstance(key, KeyVersion):
        return key.name
    if version is None:
        raise ValueError(f"which version of {key_name(key)}? pass its number")
    return f"{key_name(key)}/versions/{version}"


def needed_version(version: int | None, known: int | None, what: str) -> int:
    """The version given, or else the one a result carries. Raises ValueError when there is neither."""
    number = known if version is None else version
    if not number:
        raise ValueError(f"which version made this {what}? pass version=, or the result that has it")
    return number


def session_id(session: str | UUID) -> str:
    """A UUID, its text, or `sessions/{uuid}` as the canonical UUID. Raises ValueError."""
    text = str(session).removeprefix("sessions/")
    try:
        return str(UUID(text))
    except ValueError:
        raise ValueError(f"{text!r} is not a session id: it must be a UUID") from None


def request_id(value: str | UUID) -> str:
    """A UUID or its text as the canonical UUID. Raises ValueError."""
    try:
        return str(UUID(str(value)))
    except ValueError:
        raise ValueError(f"{value!r} is not a request_id: it must be a UUID") from None
