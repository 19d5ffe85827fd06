"""What members say to each other: typed messages; `frames` puts them on the wire.

Every message that speaks about leadership carries the sender's term:
acknowledgements too, so that a late one from an earlier term is told apart and
dropped. Decoding checks every type and range; nothing on the wire is ever an
object of Python (no pickle).
"""

from typing import Annotated

import msgspec

from qkms_node.consensus.change_rules import Change
from qkms_node.consensus.configuration import Placed
from qkms_node.consensus.entries import Entry

Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class _Message(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base: arrays on the wire, the tag first."""


class Hello(_Message, tag=0, frozen=True):
    """First frame of both ends: which cluster, who speaks, whom it believes to speak to.

    `sealed_only`: the sender takes nothing that is not under a QKD key.
    """

    cluster_id: str
    sender: str
    receiver: str
    sealed_only: bool = False


class Append(_Message, tag=1, frozen=True):
    """Log entries after (`prev_index`, `prev_term`); without entries a heartbeat and a probe."""

    term: Count
    seq: Count
    prev_index: Count
    prev_term: Count
    commit_index: Count
    entries: list[tuple[bytes, Count, Count]]


class AppendAnswer(_Message, tag=2, frozen=True):
    """`ok`: the log is verified and durable up to `index`. Else: try after `index`."""

    term: Count
    seq: Count
    ok: bool
    index: Count


class Commit(_Message, tag=3, frozen=True):
    """The leader's commit index moved; not acknowledged."""

    term: Count
    commit_index: Count


class SnapshotChunk(_Message, tag=4, frozen=True):
    """A part at `offset` of the leader's snapshot file of `size` bytes, known by `digest`."""

    term: Count
    index: Count
    index_term: Count
    size: Count
    digest: bytes
    offset: Count
    data: bytes


class SnapshotAnswer(_Message, tag=5, frozen=True):
    """The receiver holds the file up to `offset`; `installed`: its state covers `index`."""

    term: Count
    index: Count
    offset: Count
    installed: bool


class PreVote(_Message, tag=6, frozen=True):
    """Would you vote for me in term + 1? Changes nothing at the receiver."""

    term: Count
    last_index: Count
    last_term: Count


class PreVoteAnswer(_Message, tag=7, frozen=True):
    """The answer about `proposed`; `term` is the answerer's own."""

    term: Count
    proposed: Count
    granted: bool


class RequestVote(_Message, tag=8, frozen=True):
    """`transfer`: the leader itself asked for this election."""

    term: Count
    last_index: Count
    last_term: Count
    transfer: bool


class Vote(_Message, tag=9, frozen=True):
    term: Count
    granted: bool


class TimeoutNow(_Message, tag=10, frozen=True):
    """The leader asks its follower to stand for election at once."""

    term: Count


class Probe(_Message, tag=11, frozen=True):
    """Do you still follow me in this term? Sent after the reads that it serves arrived."""

    term: Count
    seq: Count


class ProbeAnswer(_Message, tag=12, frozen=True):
    term: Count
    seq: Count


class Forward(_Message, tag=13, frozen=True):
    """Commands proposed at a follower, for the leader to append as one group."""

    seq: Count
    commands: list[bytes]


class ForwardAnswer(_Message, tag=14, frozen=True):
    """`refused` empty: the group is in entry (`index`, `index_term`) from `position` on."""

    seq: Count
    refused: str
    index: Count
    index_term: Count
    position: Count


class ReadIndex(_Message, tag=15, frozen=True):
    """Asks the leader for a read index confirmed after this message was sent.

    `patient`: no caller waits, the next heartbeat will do.
    """

    seq: Count
    patient: bool


class ReadIndexAnswer(_Message, tag=16, frozen=True):
    seq: Count
    ok: bool
    index: Count


class ChangeRequest(_Message, tag=17, frozen=True):
    """A membership change proposed at a follower."""

    seq: Count
    change: Change


class ChangeAnswer(_Message, tag=18, frozen=True):
    """`problem` empty: the change is entry (`index`, `index_term`). `refused`: trying again will not help."""

    seq: Count
    problem: str
    refused: bool
    index: Count
    index_term: Count


class KnownMembers(_Message, tag=19, frozen=True):
    """The newest configuration in the sender's log; decides nothing, but whom the receiver lets in."""

    newest: Placed


class KeyOffer(_Message, tag=20, frozen=True):
    """From who dialled: the QKD key under which it wants to seal what follows, its nonce (32 bytes), and the proof
    that it holds the key (`keys.node_link`, 32 bytes)."""

    key_id: str
    nonce: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    proof: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class KeyAnswer(_Message, tag=21, frozen=True):
    """To an offer: the nonce of who accepted (32 bytes), or the problem, in words."""

    key_id: str
    nonce: bytes
    problem: str


Termed = (
    Append
    | AppendAnswer
    | Commit
    | SnapshotChunk
    | SnapshotAnswer
    | PreVote
    | PreVoteAnswer
    | RequestVote
    | Vote
    | TimeoutNow
    | Probe
    | ProbeAnswer
)
Message = (
    Termed | Forward | ForwardAnswer | ReadIndex | ReadIndexAnswer | ChangeRequest | ChangeAnswer | KnownMembers
)

LinkMessage = KeyOffer | KeyAnswer
Received = Hello | Message | LinkMessage


def append_entries(message: Append) -> list[Entry]:
    """The entries as the log holds them: (command, index, term)."""
    return list(message.entries)
