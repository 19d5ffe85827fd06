"""Whether a link may be drawn from and whether a delivered key may be used. Pure.

Rules: QBER at most the threshold, link not down, key of exactly the expected length, not
older than the limit, never a key_ID used before, seen by no relay unless relays are allowed.
What a KME does not tell (QBER, age, relays) cannot be judged and passes: standard ETSI GS
QKD 014 carries none of them. Callers run `admit_link` before drawing and `admit` on each key
before its first use; the set of used ids is theirs.
"""

import math
from collections.abc import Container
from dataclasses import dataclass

from qkms_qkd.errors import LinkError
from qkms_qkd.link import LinkStatus, QkdKey

MAX_QBER = 0.11
"""Above this 1 - 2 H2(e) is negative: no secret key can be distilled (Shor and Preskill 2000)."""


@dataclass(frozen=True, slots=True)
class AdmissionRules:
    """What is admitted. `max_qber` may be set below 11% but never above; `max_age_s` in seconds.

    `allow_relays`: also keys that trusted relays have seen in clear.
    """

    key_bits: int = 256
    max_qber: float = MAX_QBER
    max_age_s: float = 86_400.0
    allow_relays: bool = False

    def __post_init__(self) -> None:
        if self.key_bits < 8 or self.key_bits % 8:
            raise ValueError(f"key_bits must be a positive multiple of 8, not {self.key_bits}")
        if not 0 < self.max_qber <= MAX_QBER:
            raise ValueError(f"max_qber must be above 0 and at most {MAX_QBER}, not {self.max_qber}")
        if not (self.max_age_s > 0 and math.isfinite(self.max_age_s)):
            raise ValueError(f"max_age_s must be a positive number of seconds, not {self.max_age_s}")


def admit_link(rules: AdmissionRules, status: LinkStatus) -> None:
    """Raises LinkError QBER_TOO_HIGH or LINK_DOWN when no key should be drawn from this link now."""
    # "not <=" so that a NaN from the KME counts as too high.
    if status.qber is not None and not status.qber <= rules.max_qber:
        raise LinkError(
            status.source_kme,
            "QBER_TOO_HIGH",
            f"the link to {status.peer_sae} has a QBER of {status.qber:.2%}, over the limit of "
            f"{rules.max_qber:.2%}: an eavesdropper cannot be ruled out; check the fibre",
        )
    if status.up is False:
        raise LinkError(
            status.source_kme,
            "LINK_DOWN",
            f"the link to {status.peer_sae} is down; keys resume when the KME reports it up",
        )


def admit(rules: AdmissionRules, key: QkdKey, *, seen: Container[str], kme: str, held_s: float = 0.0) -> None:
    """Raises LinkError KEY_WRONG_LENGTH, KEY_REPLAYED, KEY_RELAYED or KEY_STALE when the key must not be used.

    `held_s` is how long (seconds) the caller has held the key since it was delivered.
    """
    if len(key.key) * 8 != rules.key_bits:
        raise LinkError(
            kme,
            "KEY_WRONG_LENGTH",
            f"key {key.key_id} has {len(key.key) * 8} bits where {rules.key_bits} are required",
        )
    if key.key_id in seen:
        raise LinkError(
            kme, "KEY_REPLAYED", f"key {key.key_id} was delivered before; a key serves once, draw another"
        )
    if key.relays and not rules.allow_relays:
        raise LinkError(
            kme,
            "KEY_RELAYED",
            f"key {key.key_id} has passed {', '.join(key.relays)}, who knows it; allow relays, or link directly",
        )
    age_s = held_s + (key.age_s or 0.0)
    if not age_s <= rules.max_age_s:
        raise LinkError(
            kme,
            "KEY_STALE",
            f"key {key.key_id} is {age_s:.0f} s old, over the limit of {rules.max_age_s:.0f} s; draw another",
        )
