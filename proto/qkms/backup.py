"""The file format of a backup, version 1: a header in clear, then one STREAM of chunks.

    file   = "QKMSBKUP" || 0x01 || header length (4, big-endian) || header || chunks
    header = BackupHeader of cluster.proto, with the file key sealed to the backup key
    k      = HKDF-Expand(file key, LP(label, SHA-256(all bytes before the chunks)), 32)
    chunk  = AES-256-GCM(k, nonce = counter (11, big-endian) || last (1), up to 64 KiB)

STREAM (Hoang, Reyhanitabar, Rogaway and Vizar, 2015): a chunk opens only at its
place, and the last one only as the last. So a file that was cut, reordered,
lengthened or joined from two is rejected, and no plaintext leaves before its
chunk was verified. The plaintext is a row of records, each with its length: the
roots first, then the ledger as its snapshot. The header is in the key: altering it closes every chunk. A
file key serves one file, so the nonces cannot repeat.
"""

import hashlib
from collections.abc import Iterable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qkms import labels
from qkms.errors import BackupRejected, InvalidInput
from qkms.hkdf import expand
from qkms.kem import MLKEM_SEED_BYTES, X25519_BYTES, HybridPrivateKey, HybridPublicKey
from qkms.passphrase import Argon2Parameters, passphrase_keys
from qkms.sealed import Purpose, open_sealed_to, seal_to

MAGIC = b"QKMSBKUP\x01"
CHUNK_BYTES = 64 * 1024
TAG_BYTES = 16
FILE_KEY_BYTES = 32
MAX_HEADER_BYTES = 16 * 1024
MAX_RECORD_BYTES = 64 * 1024 * 1024
_PREFIX = len(MAGIC) + 4
_SEALED_CHUNK = CHUNK_BYTES + TAG_BYTES


def preamble(header: bytes) -> bytes:
    """All that stands before the chunks. Raises InvalidInput for a header over 16 KiB."""
    if len(header) > MAX_HEADER_BYTES:
        raise InvalidInput(f"a backup header of {len(header)} bytes; at most {MAX_HEADER_BYTES}")
    return MAGIC + len(header).to_bytes(4, "big") + header


def read_preamble(start: bytes) -> tuple[bytes, bytes]:
    """The header and the whole preamble, from the first bytes of a file; 16,397 are enough.

    Raises BackupRejected.
    """
    if start[: len(MAGIC) - 1] != MAGIC[:-1]:
        raise BackupRejected("this is no backup of qkms: it does not begin as one")
    if start[: len(MAGIC)] != MAGIC:
        raise BackupRejected("this backup has another format version; restore it with the release that wrote it")
    size = int.from_bytes(start[len(MAGIC) : _PREFIX], "big")
    if len(start) < _PREFIX or size > MAX_HEADER_BYTES or len(start) < _PREFIX + size:
        raise BackupRejected("the header of this backup is damaged or cut off")
    return start[_PREFIX : _PREFIX + size], start[: _PREFIX + size]


def seal_chunks(file_key: bytes, before: bytes, payload: Iterable[bytes]) -> Iterator[bytes]:
    """The sealed chunks of `payload`; `before` is the preamble. Sealed while it is consumed."""
    cipher = _cipher(file_key, before)
    buffer = bytearray()
    counter = 0
    for part in payload:
        buffer += part
        while len(buffer) > CHUNK_BYTES:
            yield cipher.encrypt(_nonce(counter, last=False), bytes(buffer[:CHUNK_BYTES]), None)
            del buffer[:CHUNK_BYTES]
            counter += 1
    yield cipher.encrypt(_nonce(counter, last=True), bytes(buffer), None)


class ChunkOpener:
    """Opens chunks as their bytes arrive, in pieces of any size."""

    def __init__(self, file_key: bytes, before: bytes) -> None:
        self._cipher = _cipher(file_key, before)
        self._buffer = bytearray()
        self._counter = 0

    def feed(self, data: bytes) -> bytes:
        """The plaintext of the chunks that are complete and not the last. Raises BackupRejected."""
        self._buffer += data
        opened = bytearray()
        while len(self._buffer) > _SEALED_CHUNK:
            opened += self._open(bytes(self._buffer[:_SEALED_CHUNK]), last=False)
            del self._buffer[:_SEALED_CHUNK]
        return bytes(opened)

    def finish(self) -> bytes:
        """The plaintext of the last chunk, when every byte has been fed. Raises BackupRejected."""
        return self._open(bytes(self._buffer), last=True)

    def _open(self, chunk: bytes, last: bool) -> bytes:
        try:
            plaintext = self._cipher.decrypt(_nonce(self._counter, last), chunk, None)
        except InvalidTag as error:
            raise BackupRejected(
                f"chunk {self._counter} of this backup does not verify: the file was cut, reordered or altered"
            ) from error
        self._counter += 1
        return plaintext


def _cipher(file_key: bytes, before: bytes) -> AESGCM:
    info = labels.lp(labels.BACKUP_STREAM, hashlib.sha256(before).digest())
    return AESGCM(expand(file_key, info, FILE_KEY_BYTES))


def _nonce(counter: int, last: bool) -> bytes:
    return counter.to_bytes(11, "big") + bytes([last])


def passphrase_backup_key(passphrase: bytes, parameters: Argon2Parameters) -> HybridPrivateKey:
    """The backup key of a passphrase. Takes the time and memory of the parameters. Raises InvalidInput."""
    keys = passphrase_keys(passphrase, parameters)
    seed = expand(keys.key, labels.lp(labels.BACKUP_PASSPHRASE_KEY), MLKEM_SEED_BYTES + X25519_BYTES)
    return HybridPrivateKey.from_bytes(seed)


def seal_file_key(public: HybridPublicKey, file_key: bytes, cluster_id: str, recovery_set: str) -> bytes:
    """A file key for the holder of a backup key; `recovery_set` is empty for one of a passphrase."""
    return seal_to(public, file_key, (labels.BACKUP_KEY, cluster_id, recovery_set))


def open_file_key(private: HybridPrivateKey, sealed: bytes, cluster_id: str, recovery_set: str) -> bytes:
    """The inverse of `seal_file_key`. Raises SealedRejected."""
    return open_sealed_to(private, sealed, (labels.BACKUP_KEY, cluster_id, recovery_set))


def handover(cluster_id: str, node_id: str, restore_id: str) -> Purpose:
    """What a file key is bound to that is handed to the node which restores."""
    return (labels.RESTORE_HANDOVER, cluster_id, node_id, restore_id)


def frame(record: bytes) -> bytes:
    """A record of the plaintext: its length (4, big-endian), then its bytes."""
    return len(record).to_bytes(4, "big") + record


class FrameReader:
    """Takes the plaintext apart into records as it arrives."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The records that are now complete. Raises BackupRejected for one over 64 MiB."""
        self._buffer += data
        records: list[bytes] = []
        start = 0
        while len(self._buffer) - start >= 4:
            size = int.from_bytes(self._buffer[start : start + 4], "big")
            if size > MAX_RECORD_BYTES:
                raise BackupRejected(f"this backup has a record of {size} bytes; no release writes such a one")
            if len(self._buffer) - start - 4 < size:
                break
            records.append(bytes(self._buffer[start + 4 : start + 4 + size]))
            start += 4 + size
        del self._buffer[:start]
        return records

    def finish(self) -> None:
        """Raises BackupRejected when the plaintext ended within a record."""
        if self._buffer:
            raise BackupRejected("this backup ends within a record")
