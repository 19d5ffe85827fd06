"""What a message's term decides before its content is looked at.

A higher term makes this node a follower of nobody in that term; a lower one
is answered with ours where the sender must learn it, and dropped otherwise.
So no acknowledgement of an earlier term is ever counted (L), and a deposed
leader learns that it is one.
"""

from typing import TYPE_CHECKING

from qkms_node.consensus.core import Core
from qkms_node.consensus.messages import (
    Append,
    AppendAnswer,
    ChangeAnswer,
    ChangeRequest,
    Commit,
    Forward,
    ForwardAnswer,
    KnownMembers,
    Message,
    PreVote,
    PreVoteAnswer,
    Probe,
    ProbeAnswer,
    ReadIndex,
    ReadIndexAnswer,
    RequestVote,
    SnapshotAnswer,
    SnapshotChunk,
    TimeoutNow,
    Vote,
)
from qkms_node.consensus.replica import Role

if TYPE_CHECKING:
    from qkms_node.consensus.raft import Raft


class Dispatch:
    """Hands each message to its part of `engine`."""

    def __init__(self, core: Core, engine: "Raft") -> None:
        self._core = core
        self._engine = engine

    def receive(self, peer: str, message: Message) -> None:
        """Takes one message of a member, perhaps of a configuration that is not known here yet.

        Whoever counts what members say goes by the configuration.
        """
        engine = self._engine
        match message:
            case Forward():
                engine.proposals.on_forward(peer, message)
            case ForwardAnswer():
                engine.proposals.on_forward_answer(message)
            case ReadIndex():
                engine.reads.on_read_index(peer, message)
            case ReadIndexAnswer():
                engine.reads.on_read_index_answer(message)
            case ChangeRequest():
                engine.changes.on_change_request(peer, message)
            case ChangeAnswer():
                engine.changes.on_change_answer(message)
            case KnownMembers():
                engine.changes.on_known_members(message)
            case PreVote():
                engine.elections.on_pre_vote(peer, message)
            case RequestVote():
                engine.elections.on_request_vote(peer, message)
            case _:
                self._receive_termed(peer, message)

    def _receive_termed(
        self,
        peer: str,
        message: Append
        | AppendAnswer
        | Commit
        | SnapshotChunk
        | SnapshotAnswer
        | PreVoteAnswer
        | Vote
        | TimeoutNow
        | Probe
        | ProbeAnswer,
    ) -> None:
        core, engine = self._core, self._engine
        if message.term > core.term:
            core.set_term(message.term, None)
            core.follow(None)
        if message.term < core.term and not isinstance(message, PreVoteAnswer):
            if isinstance(message, Append | SnapshotChunk | Probe):
                core.send(peer, AppendAnswer(core.term, 0, False, core.last_index))
            return
        leads = core.role is Role.LEADER
        match message:
            case Append():
                engine.following.on_append(peer, message)
            case Commit():
                engine.following.on_commit(peer, message)
            case Probe():
                engine.following.on_probe(peer, message)
            case SnapshotChunk():
                engine.following.heard(peer)
                engine.snapshots.on_chunk(peer, message)
            case TimeoutNow():
                engine.elections.on_timeout_now(peer, message)
            case PreVoteAnswer():
                engine.elections.on_pre_vote_answer(peer, message)
            case Vote():
                engine.elections.on_vote(peer, message)
            case AppendAnswer() if leads:
                engine.leading.on_append_answer(peer, message)
            case SnapshotAnswer() if leads:
                engine.leading.on_snapshot_answer(peer, message)
            case ProbeAnswer() if leads:
                engine.reads.on_probe_answer(peer, message)
