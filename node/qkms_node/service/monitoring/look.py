"""One look at a link: what the KME said of it, at what time. Pure."""

import msgspec

from qkms_qkd.link import LinkStatus


class Look(msgspec.Struct, frozen=True, gc=False):
    """A status or a failure. Times in Unix seconds; `stored`, `capacity` in keys of `key_bits`; `qber` a fraction.

    `problem` is the code of the error when the KME did not tell; then all else is None, but for `prefetched`: keys
    that were drawn ahead and wait.
    """

    time_s: float
    problem: str = ""
    up: bool | None = None
    qber: float | None = None
    skr_bps: float | None = None
    stored: int | None = None
    capacity: int | None = None
    key_bits: int = 0
    prefetched: int = 0

    @property
    def fill(self) -> float | None:
        """How full the store is, 0 to 1."""
        if self.stored is None or not self.capacity:
            return None
        return self.stored / self.capacity


def look_at(status: LinkStatus, time_s: float) -> Look:
    """The look that a status is."""
    if status.failure is not None:
        return Look(time_s, problem=status.failure.code, prefetched=status.prefetched)
    return Look(
        time_s=time_s,
        up=status.up,
        qber=status.qber,
        skr_bps=status.skr_bps,
        stored=status.stored_key_count,
        capacity=status.max_key_count,
        key_bits=status.key_size,
        prefetched=status.prefetched,
    )
