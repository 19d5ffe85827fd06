"""What a KME says of a key it delivers: vendor extensions of ETSI GS QKD 014, all optional to read. Pure."""

from collections.abc import Iterable

from qkms_qkd.link import QkdKey
from qkms_qkd.serving.supply import Supplied


def described(key: QkdKey, disjoint_routes: int = 1) -> Supplied:
    """The key with its `key_extension`: `age_s`, and for a relayed one who relayed it.

    `relays` are all that had the key or a share of it in their hands; so many as `disjoint_routes` of them have to
    conspire to learn it.
    """
    extension: dict[str, object] = {"age_s": round(key.age_s or 0.0, 3)}
    if key.relays:
        extension |= {"relays": list(key.relays), "disjoint_routes": disjoint_routes}
    return Supplied(key, extension)


def relayed(key_id: str, key: bytes, age_s: float, relays: Iterable[str], disjoint_routes: int) -> Supplied:
    """A key that came by these relays."""
    return described(QkdKey(key_id, key, max(0.0, age_s), tuple(sorted(set(relays)))), disjoint_routes)
