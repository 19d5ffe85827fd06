"""A QKD link as the node sees it: something that gives equal secret keys at both ends.

`Link` is the interface behind which ETSI GS QKD 014, SKIP and simulated devices
stand. A link moves keys and reports on itself; whether a key may be used is
decided by `admission`, not here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class QkdKey:
    """One key out of a link.

    `key_id` is the name both KMEs know it by, `key` the raw bytes. `age_s` is how
    long ago the link produced it, in seconds, as the KME tells it; None when it
    does not say.

    There is no comparison by value (keys are compared in constant time, where
    they are compared at all), no pickling, and `repr` shows no key byte.
    """

    key_id: str
    key: bytes
    age_s: float | None = None

    def __repr__(self) -> str:
        return f"QkdKey(key_id={self.key_id!r}, key=<{len(self.key) * 8} bits>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a QKD key is not pickled")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a QKD key is not pickled")


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """What the local KME says of the link to `peer_sae`.

    `key_size` in bits; counts in keys of that size. `qber` is a fraction (0.11 is
    11 %), `skr_bps` the secret key rate in bit/s, `up` whether the link runs: each
    None when the KME does not tell (ETSI 014 has no field for them).
    """

    peer_sae: str
    source_kme: str
    target_kme: str
    key_size: int
    stored_key_count: int
    max_key_count: int
    max_key_per_request: int
    qber: float | None = None
    skr_bps: float | None = None
    up: bool | None = None


class Link(Protocol):
    """The local end of a QKD link to one peer. Every method raises `LinkError`."""

    @property
    def peer_sae(self) -> str:
        """SAE id of the other end."""

    async def status(self) -> LinkStatus:
        """How the link is now."""

    async def draw(self, number: int = 1, size_bits: int = 256) -> list[QkdKey]:
        """`number` fresh keys of exactly `size_bits`, as master; the peer collects them by key_id."""

    async def collect(self, key_ids: Sequence[str], size_bits: int = 256) -> list[QkdKey]:
        """The keys the peer drew as master, in the order asked, each of exactly `size_bits`."""

    async def close(self) -> None:
        """Frees connections; the link is not used afterwards."""
