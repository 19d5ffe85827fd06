"""What every link to a QKD device offers, whatever protocol it speaks.

A link joins this node's SAE to one peer SAE. As master it draws keys that its KME
then also holds for the peer; as slave it collects keys the peer drew, by key_ID.
Left out: admission (see `admission`), the protocols themselves (see `etsi014`, `skip`, `keyfiles`), and what
makes one link of several KMEs (`failover`) or keeps keys ahead (`prefetch`): both are links as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from qkms_qkd.errors import LinkError


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class QkdKey:
    """One key as a KME delivered it: `key` in bytes, `age_s` since it was distilled when the KME tells.

    `relays`: the nodes between the two ends that have seen the key in clear, as far as the KME tells.
    `kme`: which one delivered it, where a link has several. `prefetched`: it was drawn before it was asked for,
    and may be `age_slack_s` older than `age_s`: so long its KME took to tell its age.
    """

    key_id: str
    key: bytes
    age_s: float | None = None
    relays: tuple[str, ...] = ()
    kme: str = ""
    prefetched: bool = False
    age_slack_s: float = 0.0

    def __repr__(self) -> str:
        return f"QkdKey(key_id={self.key_id!r}, key=<{len(self.key) * 8} bits redacted>)"

    def __eq__(self, other: object) -> bool:
        # == on bytes stops at the first difference and so leaks where it is to whoever can time it.
        raise TypeError("QkdKey has no ==; compare the key bytes with hmac.compare_digest")

    __hash__ = None  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("QkdKey is never pickled")


@dataclass(frozen=True, slots=True)
class KmeCondition:
    """How one of the KMEs of a link stands. `status`: the last it gave; `problem`: why no key is drawn from it
    now, empty when there is no reason; `serves`: keys are drawn from this one."""

    kme_id: str
    priority: int
    status: "LinkStatus | None"
    problem: str
    serves: bool


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """A link as the KME describes it (ETSI GS QKD 014 clause 6.1); sizes in bits, QBER as a fraction.

    What is None the KME does not tell. `skr_bps` is in secret bits per second.
    `prefetched`: keys that were drawn already and wait here. `failure`: why the KME gave no status, when there are
    such keys all the same. `kmes`: each of the KMEs, where a link has several; `kme` is then the one that the rest
    is of, by the name it is configured by.
    """

    peer_sae: str
    source_kme: str
    target_kme: str
    key_size: int
    stored_key_count: int | None
    max_key_count: int | None
    max_key_per_request: int
    qber: float | None = None
    skr_bps: float | None = None
    up: bool | None = None
    prefetched: int = 0
    failure: LinkError | None = None
    kme: str = ""
    kmes: tuple[KmeCondition, ...] = ()


class Link(Protocol):
    """A source of keys shared with one peer. Every method raises LinkError and nothing else."""

    @property
    def peer_sae(self) -> str:
        """SAE id of the other end."""
        ...

    async def status(self) -> LinkStatus:
        """What the KME says of the link now."""
        ...

    async def draw(self, number: int = 1, size_bits: int = 256) -> list[QkdKey]:
        """Exactly `number` fresh keys of exactly `size_bits`, as master."""
        ...

    async def collect(self, key_ids: Sequence[str], size_bits: int = 256) -> list[QkdKey]:
        """The keys of these ids, in this order, each of exactly `size_bits`, as slave."""
        ...

    async def close(self) -> None:
        """Gives the connections back."""
        ...
