"""Messages by which sites relay keys, over the channel of each link (`channel_messages`).

A site passes a message on to the next site of its route and answers when that one has answered.
"""

from typing import Literal

import msgspec

FailureCode = Literal["LINK_DOWN", "STORE_EXHAUSTED"]


class Part(msgspec.Struct, frozen=True):
    """One key, or the share of one, on its way over one link: XORed with the stored keys `pads`, in order."""

    delivery_id: str
    pads: list[str]
    sealed: bytes


class Carry(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of keys that `master` drew for `slave`, to go along `route`, the KMEs of both ends included.

    `share` of `shares` (from 0): the XOR of all of them is the key. `age_s`: of the oldest pad so far.
    `within_s`: how long the sender waits for the answer.
    """

    route: list[str]
    master: str
    slave: str
    size_bits: int
    share: int
    shares: int
    age_s: float
    within_s: float
    parts: list[Part]


class Failure(msgspec.Struct, frozen=True):
    """Why a site could not pass on: over which link, and whether the slave's KME certainly holds nothing."""

    code: FailureCode
    link: tuple[str, str]
    reason: str
    certain: bool = True


class CarryAnswer(msgspec.Struct, frozen=True):
    """Held for the slave unless `pads_refused` (in use at the receiver; nothing happened) or `failure`."""

    age_s: float = 0.0
    pads_refused: bool = False
    failure: Failure | None = None


class Probe(msgspec.Struct, frozen=True):
    """Asks how the links of a route stand, from the receiver on."""

    route: list[str]
    within_s: float


class Reach(msgspec.Struct, frozen=True):
    """How a route stands: fewest keys, highest QBER (None: a link measures none), lowest rate, all links up.

    `weakest` is the link with the fewest keys.
    """

    stored: int
    up: bool
    qber: float | None
    skr_bps: float
    weakest: tuple[str, str]

    def joined(self, onward: "Reach") -> "Reach":
        """This stretch and the one behind it."""
        weaker = min(self, onward, key=lambda reach: reach.stored)
        known = self.qber is not None and onward.qber is not None
        return Reach(
            weaker.stored,
            self.up and onward.up,
            max(self.qber or 0.0, onward.qber or 0.0) if known else None,
            min(self.skr_bps, onward.skr_bps),
            weaker.weakest,
        )
