"""Rows: the ledger as it comes from peers and backups, and the journal as an operator lists it."""

from decoders.table import Decoder, file, folder
from ledger_world import seeded
from qkms import backup
from qkms.errors import BackupRejected
from qkms_node.consensus import journal_records
from qkms_node.consensus.journal_listing import list_journal
from qkms_node.ledger import commands, snapshot
from qkms_node.ledger.state import State


def _restored(raw: bytes) -> State:
    frames = backup.FrameReader()
    chunks = frames.feed(raw)
    frames.finish()
    return snapshot.restore(chunks)


def _snapshot() -> bytes:
    world = seeded()
    world.create("payments")
    return b"".join(map(backup.frame, snapshot.snapshot(world.state)))


def _deep(depth: int) -> bytes:
    return b"\x91" * depth + b"\x00"


JOURNAL = folder("journal") / "journal"
JOURNAL.mkdir()
SEGMENT = journal_records.encode(1, journal_records.ENTRY, journal_records.PAIR.pack(2, 1) + b"command")

DECODERS = (
    Decoder(
        "ledger command",
        ("qkms_node.ledger.commands",),
        commands.decode_command,
        commands.encode_command(commands.AbortRoot(1, "why")),
        (commands.UnknownCommand,),
        regressions=(_deep(100_000), b"\x81\xa4type" + _deep(100_000)),
    ),
    Decoder(
        "ledger outcome",
        ("qkms_node.ledger.commands",),
        commands.decode_outcome,
        commands.encode_outcome(commands.Outcome(7)),
        (commands.UnknownCommand,),
    ),
    Decoder(
        "ledger snapshot",
        ("qkms_node.ledger.snapshot", "qkms_node.ledger.tables"),
        _restored,
        _snapshot(),
        (snapshot.SnapshotRejected, BackupRejected),
        regressions=(backup.frame(_deep(100_000)), b"", backup.frame(b"\x80")),
    ),
    Decoder(
        "journal as listed",
        ("qkms_node.consensus.journal_listing", "qkms_node.consensus.journal_records"),
        file(JOURNAL / f"{1:020d}.journal", lambda: list(list_journal(JOURNAL.parent))),
        SEGMENT,
    ),
)
