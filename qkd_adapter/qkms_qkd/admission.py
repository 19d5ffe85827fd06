"""Which keys of a link may become part of a root: pure rules, no clock, no IO.

Checked here: the link is up and quiet enough (QBER), the key has the length
asked for, it was not used before, and it is not too old where its age is known.
Left out: where keys come from and the memory of used key_IDs, which are arguments.
"""

from collections.abc import Set
from dataclasses import dataclass
from typing import Final

from qkms_qkd.errors import KEY_REPLAYED, KEY_STALE, KEY_WRONG_LENGTH, LINK_DOWN, QBER_TOO_HIGH, LinkError
from qkms_qkd.link import LinkStatus, QkdKey

QBER_CEILING: Final = 0.11
"""1 - 2*H2(e) falls to zero at e = 11.00 % (Shor and Preskill 2000): over it no secret is left in BB84."""


@dataclass(frozen=True, slots=True)
class AdmissionRules:
    """What is asked of a key. `max_age_s` None: any age.

    Raises ValueError for a threshold over the 11 % ceiling or any value out of range.
    """

    key_bits: int = 256
    max_qber: float = QBER_CEILING
    max_age_s: float | None = 172_800.0

    def __post_init__(self) -> None:
        if self.key_bits < 128 or self.key_bits % 8:
            raise ValueError(f"key_bits: {self.key_bits} is not a multiple of 8 from 128 on")
        if not 0.0 < self.max_qber <= QBER_CEILING:
            raise ValueError(
                f"max_qber: {self.max_qber} is not over 0 and at most {QBER_CEILING}; no secret is left above"
            )
        if self.max_age_s is not None and not self.max_age_s > 0.0:
            raise ValueError(f"max_age_s: {self.max_age_s} is not over 0")


def admit_link(rules: AdmissionRules, status: LinkStatus) -> None:
    """Whether the link may be drawn from now. Raises LinkError LINK_DOWN or QBER_TOO_HIGH.

    What the KME does not tell is not held against it: plain ETSI 014 has no QBER.
    """
    if status.up is False:
        raise LinkError(
            status.source_kme, LINK_DOWN, f"the link to {status.peer_sae} is down; check the fibre and the peer"
        )
    # Written so that a QBER that is not a number is refused, not let through.
    if status.qber is not None and not 0.0 <= status.qber <= rules.max_qber:
        raise LinkError(
            status.source_kme,
            QBER_TOO_HIGH,
            f"the QBER of the link to {status.peer_sae} is {status.qber:.2%}, over the threshold "
            f"{rules.max_qber:.2%}; the link is disturbed or somebody listens",
        )


def admit(rules: AdmissionRules, key: QkdKey, *, seen: Set[str], kme: str) -> None:
    """Whether `key` may be used. `seen` are the key_IDs used before.

    Raises LinkError KEY_WRONG_LENGTH, KEY_REPLAYED or KEY_STALE.
    """
    if len(key.key) * 8 != rules.key_bits:
        raise LinkError(
            kme, KEY_WRONG_LENGTH, f"key {key.key_id} has {len(key.key) * 8} bits, not {rules.key_bits}"
        )
    # A key delivered twice may be known to whoever received it first.
    if key.key_id in seen:
        raise LinkError(kme, KEY_REPLAYED, f"key {key.key_id} was used before; it is not used again")
    if rules.max_age_s is not None and key.age_s is not None and not 0.0 <= key.age_s <= rules.max_age_s:
        raise LinkError(
            kme, KEY_STALE, f"key {key.key_id} is {key.age_s:.0f} s old, at most {rules.max_age_s:.0f} s is admitted"
        )
