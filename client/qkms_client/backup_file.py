"""A backup as a file on this side: its header, its key, and whether it is whole. No network.

The header says who can open it: holders of recovery shares, or of a passphrase.
Nothing that the header says is sure before the file was read to its end with
the key: `verify` does that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from google.protobuf.message import DecodeError

from qkms.backup import (
    CHUNK_BYTES,
    MAGIC,
    MAX_HEADER_BYTES,
    ChunkOpener,
    FrameReader,
    open_file_key,
    passphrase_backup_key,
    read_preamble,
)
from qkms.errors import BackupRejected, CryptoError, SealedRejected
from qkms.kem import HybridPrivateKey
from qkms.passphrase import Argon2Parameters
from qkms.redacted import Redacted
from qkms.v1 import cluster_pb2 as pb
from qkms_client import decode
from qkms_client.errors import AnswerNotUnderstood, BackupInvalid, RecoveryFailed
from qkms_client.recovery_shares import joined
from qkms_client.root_types import BackupCheck, BackupInfo

START_BYTES = len(MAGIC) + 4 + MAX_HEADER_BYTES


@dataclass(frozen=True, repr=False, eq=False)
class OpenedBackup(Redacted):
    """A backup whose header was read and whose file key is known."""

    info: BackupInfo
    before: bytes
    file_key: bytes


def read_info(file: BinaryIO) -> BackupInfo:
    """What the header of a backup says, not verified. Raises BackupInvalid."""
    return _info(_header(file)[0])


def open_backup(file: BinaryIO, passphrase: bytes | None, shares: Sequence[str]) -> OpenedBackup:
    """Reads the header and finds the file key, with a passphrase or recovery shares.

    Raises BackupInvalid; RecoveryFailed for shares that do not open this one.
    """
    header, before = _header(file)
    private = _backup_key(header, passphrase, shares)
    try:
        file_key = open_file_key(private, header.sealed_file_key, header.cluster_id, header.recovery_set_id)
    except SealedRejected as error:
        raise BackupInvalid(
            "the key does not open this backup: another passphrase, or an altered header"
        ) from error
    return OpenedBackup(_info(header), before, file_key)


def verify(file: BinaryIO, opened: OpenedBackup) -> BackupCheck:
    """Reads a backup to its end. Raises BackupInvalid."""
    file.seek(len(opened.before))
    opener, frames = ChunkOpener(opened.file_key, opened.before), FrameReader()
    records = 0
    try:
        for data in pieces(file, CHUNK_BYTES):
            records += len(frames.feed(opener.feed(data)))
        records += len(frames.feed(opener.finish()))
        frames.finish()
    except BackupRejected as error:
        raise BackupInvalid(str(error)) from error
    # The first record holds the roots, the second the ledger's scalars.
    return BackupCheck(opened.info, max(0, records - 2), file.tell())


def pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The rest of a file in pieces of `size` bytes."""
    while data := file.read(size):
        yield data


def _header(file: BinaryIO) -> tuple[pb.BackupHeader, bytes]:
    file.seek(0)
    try:
        data, before = read_preamble(file.read(START_BYTES))
        return pb.BackupHeader.FromString(data), before
    except BackupRejected as error:
        raise BackupInvalid(str(error)) from error
    except DecodeError as error:
        raise BackupInvalid("the header of this backup is damaged") from error


def _backup_key(header: pb.BackupHeader, passphrase: bytes | None, shares: Sequence[str]) -> HybridPrivateKey:
    if header.HasField("passphrase"):
        if passphrase is None:
            raise BackupInvalid("this backup is under a passphrase, and none was given")
        derivation = header.passphrase
        try:
            parameters = Argon2Parameters(
                derivation.salt, derivation.memory_kib, derivation.passes, derivation.lanes
            )
            return passphrase_backup_key(passphrase, parameters)
        except CryptoError as error:
            raise BackupInvalid(f"the passphrase or its parameters cannot be used: {error}") from error
    if not shares:
        raise RecoveryFailed(
            f"this backup opens with shares of recovery set {header.recovery_set_id}; none were given"
        )
    key = joined(shares)
    if key.set_id != header.recovery_set_id:
        raise RecoveryFailed(
            f"the shares are of set {key.set_id}, this backup is under set {header.recovery_set_id}"
        )
    return key.private


def _info(header: pb.BackupHeader) -> BackupInfo:
    try:
        create_time = decode.time(header.create_time)
    except AnswerNotUnderstood as error:
        raise BackupInvalid("the header of this backup is damaged: it has a time that no calendar has") from error
    return BackupInfo(
        cluster_id=header.cluster_id,
        node_id=header.node_id,
        revision=header.revision,
        create_time=create_time,
        active_epoch=header.active_epoch,
        key_count=header.key_count,
        recovery_set_id=header.recovery_set_id,
    )
