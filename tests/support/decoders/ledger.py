"""Rows: what nodes say to each other, the ledger as peers and backups give it, the journal as it is listed."""

from decoders.table import Decoder, file, folder
from ledger_world import seeded
from qkms import backup
from qkms.errors import BackupRejected
from qkms_node.consensus import entries, journal_records
from qkms_node.consensus.configuration import Configuration
from qkms_node.consensus.frames import FrameReader, FrameRejected, frame
from qkms_node.consensus.journal_listing import list_journal
from qkms_node.consensus.messages import Hello, Probe
from qkms_node.consensus.sealed_frames import Opening, Sealing
from qkms_node.keys.node_link import LinkCipher
from qkms_node.keys.secret import QkdSecret
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


def _cipher() -> LinkCipher:
    return LinkCipher(
        QkdSecret(bytes(32)),
        cluster_id="c",
        sender="n1",
        receiver="n2",
        key_id="k",
        sender_nonce=bytes(32),
        receiver_nonce=bytes(32),
    )


def _frames(raw: bytes) -> object:
    """What follows the first frame of a stream, sealed or not."""
    opening = Opening()
    opening.expect(_cipher())
    reader = FrameReader(200_000, opening.opened)
    reader.feed(frame(Hello("c", "n1", "n2")))
    return reader.feed(raw)


def _sealed(frames: bytes) -> bytes:
    sealing = Sealing()
    sealing.change(_cipher())
    return sealing.sealed(frames)


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
        "frames between nodes",
        ("qkms_node.consensus.frames",),
        _frames,
        frame(Probe(1, 1)) * 2,
        (FrameRejected,),
    ),
    Decoder(
        "frames sealed under a QKD key",
        ("qkms_node.consensus.frames", "qkms_node.consensus.sealed_frames"),
        _frames,
        _sealed(frame(Probe(1, 1)) * 2),
        (FrameRejected,),
        regressions=(_sealed(b""), _sealed(frame(Probe(1, 1))[:-1])),
    ),
    Decoder(
        "commands of an entry of the log",
        ("qkms_node.consensus.entries",),
        lambda raw: entries.decode_batch((raw, 2, 1)),
        entries.encode_batch(1, [b"command"]),
        (entries.EntryUnreadable,),
        regressions=(entries.BATCH + _deep(100_000), b""),
    ),
    Decoder(
        "configuration in an entry of the log",
        ("qkms_node.consensus.entries",),
        lambda raw: entries.decode_configuration((raw, 2, 1)),
        entries.encode_configuration(Configuration({"n1": "h:1"})),
        (entries.EntryUnreadable,),
        regressions=(
            entries.CONFIGURATION + _deep(100_000),
            entries.CONFIGURATION + b"\x81\xa4novl" + _deep(100_000),
            entries.CONFIGURATION + b"\x92\x81\xa2n\xb1\xa3h:1\x80",
        ),
    ),
    Decoder(
        "journal as listed",
        ("qkms_node.consensus.journal_listing", "qkms_node.consensus.journal_records"),
        file(JOURNAL / f"{1:020d}.journal", lambda: list(list_journal(JOURNAL.parent))),
        SEGMENT,
        regressions=(
            journal_records.encode(1, journal_records.HEAD, b"\x81\xa4novl" + _deep(100_000)),
            journal_records.encode(1, journal_records.VOTE, _deep(100_000)),
        ),
    ),
)
