"""Messages between the two KMEs of a link, as JSON over mutual TLS; keys as base64.

The channel stands for the fibre and for the authenticated classical channel at once. The KME with the
smaller id runs the link and sends hello and offer; assign, discard and faults go either way.
"""

import msgspec

from qkms_qkd.kme.faults import Faults


class OfferedKey(msgspec.Struct, frozen=True):
    """A distilled key: `seq` counts up per link and store, `age_s` in seconds."""

    key_id: str
    seq: int
    key: bytes
    age_s: float

    def __repr__(self) -> str:
        return f"OfferedKey(key_id={self.key_id!r}, seq={self.seq}, key=<redacted>)"


class LinkReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the running end measures: QBER (a fraction, None when nothing arrives), secret bits per second."""

    qber: float | None
    skr_bps: float
    discarded_blocks: int
    faults: Faults


class Hello(msgspec.Struct, frozen=True):
    """Opens an exchange after a start of either end: key ids held and not yet assigned, key size in bits."""

    incarnation: str
    store_id: str
    key_bits: int
    known: list[str]


class HelloAnswer(msgspec.Struct, frozen=True):
    """The key ids that the answering end holds and has not assigned."""

    known: list[str]


class Offer(msgspec.Struct, frozen=True):
    """Finished keys and the present report; an empty offer is a sign of life."""

    incarnation: str
    report: LinkReport
    keys: list[OfferedKey]


class Parts(msgspec.Struct, frozen=True):
    """A delivery and the stored keys it consists of, in order."""

    delivery_id: str
    key_ids: list[str]


class Assign(msgspec.Struct, frozen=True):
    """Asks the peer to hold these deliveries of `size_bits` for `slave`, drawn by `master`. All or none."""

    master: str
    slave: str
    size_bits: int
    deliveries: list[Parts]


class AssignAnswer(msgspec.Struct, frozen=True):
    """Both empty: assigned. Else nothing changed: key ids not held, and key ids in use for another draw."""

    unknown: list[str] = []
    busy: list[str] = []


class Discard(msgspec.Struct, frozen=True):
    """Key ids that the peer must forget."""

    key_ids: list[str]
