"""Faults that an operator can put on a simulated link, and on a KME as a whole. Pure.

A new fault is a new field here with a default of "absent"; the admin API, the store and (for those of a link) the
channel between KMEs carry whatever these records hold.
"""

import msgspec

MAX_EXTRA_MISALIGNMENT = 0.467
"""With the 3.3% of the default link this makes every second bit an error: nothing is left to degrade."""
MAX_SLOW_S = 60.0
MAX_CLOCK_S = 10 * 365 * 86_400.0


class Faults(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`cut` breaks the quantum channel; `intercept_resend` is the fraction of pulses (0 to 1) an
    eavesdropper measures and sends on; `extra_misalignment` (0 to 0.467) degrades the optics."""

    cut: bool = False
    intercept_resend: float = 0.0
    extra_misalignment: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.intercept_resend <= 1:
            raise ValueError("intercept_resend must be a fraction from 0 to 1")
        if not 0 <= self.extra_misalignment <= MAX_EXTRA_MISALIGNMENT:
            raise ValueError(f"extra_misalignment must be from 0 to {MAX_EXTRA_MISALIGNMENT}")


class KmeFaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`slow_s`: every answer to SAEs comes so much later (seconds, 0 to 60); `wrong_key`: keys that slaves collect
    are altered, at the right length; `redeliver`: whoever draws is given the keys of the first such draw since,
    and a collected key can be collected again; `exhausted`: status and draws see an empty store, while what was
    drawn can still be collected; `clock_s`: the KME's clock is off by so many seconds, either way, at most ten
    years."""

    slow_s: float = 0.0
    wrong_key: bool = False
    redeliver: bool = False
    exhausted: bool = False
    clock_s: float = 0.0

    def __post_init__(self) -> None:
        # NaN fails both comparisons.
        if not 0 <= self.slow_s <= MAX_SLOW_S:
            raise ValueError(f"slow_s must be from 0 to {MAX_SLOW_S:g} seconds")
        if not -MAX_CLOCK_S <= self.clock_s <= MAX_CLOCK_S:
            raise ValueError(f"clock_s must be from {-MAX_CLOCK_S:.0f} to {MAX_CLOCK_S:.0f} seconds")
