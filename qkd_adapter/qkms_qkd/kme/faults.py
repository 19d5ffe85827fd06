"""Faults that an operator can put on a simulated link. Pure.

A new fault is a new field here with a default of "absent"; the admin API, the store and the
channel between KMEs carry whatever this record holds.
"""

import msgspec

MAX_EXTRA_MISALIGNMENT = 0.467
"""With the 3.3% of the default link this makes every second bit an error: nothing is left to degrade."""


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
