"""From [seal] to a seal: which mode, and where its secret comes from."""

import os
from pathlib import Path

from qkms_node.config_sections import SealSection
from qkms_node.service.seals.keyfile import KeyFileSeal
from qkms_node.service.seals.passphrase import PassphraseSeal
from qkms_node.service.seals.seal import Seal, SealError, SecretNeeded

MAX_SECRET_BYTES = 4096


class SealMaker:
    """Makes the seal of one node whenever its root store is opened."""

    def __init__(self, section: SealSection, cluster_id: str, node_id: str) -> None:
        self._section = section
        self._cluster_id = cluster_id
        self._node_id = node_id
        self._descriptor_read = False

    @property
    def mode(self) -> str:
        """keyfile, passphrase, pkcs11 or peers."""
        return self._section.mode

    @property
    def stores(self) -> bool:
        """Whether there is anything on disk: not in mode peers."""
        return self.mode != "peers"

    @property
    def needs_secret(self) -> bool:
        """Whether opening takes a secret that the node has no more source of itself."""
        at_hand = self._section.secret_file is not None or (
            self._section.secret_fd is not None and not self._descriptor_read
        )
        return self.mode in ("passphrase", "pkcs11") and not at_hand

    def make(self, stored: bytes | None, secret: bytes) -> Seal:
        """The seal. `stored`: what it is to open, None for a new store; `secret`: empty: the configured one.

        May take the time of Argon2id or of a token. Raises SealError.
        """
        section, names = self._section, (self._cluster_id, self._node_id)
        match section.mode:
            case "keyfile":
                assert section.key_file is not None
                return KeyFileSeal(section.key_file, *names)
            case "passphrase":
                return PassphraseSeal(
                    secret or self._configured("passphrase"),
                    stored,
                    *names,
                    memory_kib=section.argon2_memory_kib,
                    passes=section.argon2_passes,
                    lanes=section.argon2_lanes,
                )
            case "pkcs11":
                return self._token(secret or self._configured("PIN"), may_make_key=stored is None)
            case "peers":
                raise AssertionError("nothing is sealed in mode peers")

    def _token(self, pin: bytes, *, may_make_key: bool) -> Seal:
        try:
            from qkms_node.service.seals.hsm import TokenSeal
        except ImportError as error:
            raise SealError("[seal] mode pkcs11 needs the extra: pip install 'qkms-node[pkcs11]'") from error
        section = self._section
        assert section.module is not None
        return TokenSeal(
            section.module,
            section.token_label,
            section.key_label,
            pin,
            self._cluster_id,
            self._node_id,
            may_make_key=may_make_key,
        )

    def _configured(self, what: str) -> bytes:
        if self._section.secret_file is not None:
            return _from_file(self._section.secret_file)
        if self._section.secret_fd is not None and not self._descriptor_read:
            self._descriptor_read = True
            return _from_descriptor(self._section.secret_fd)
        raise SecretNeeded(f"the {what} is needed; run `qkms-node unseal` here, or `qkms unseal` as an operator")


def _from_file(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode & 0o777
        secret = path.read_bytes()
    except OSError as error:
        raise SealError(f"{path}: the secret cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise SealError(f"{path}: mode {mode:04o} lets others read the secret; chmod it to 0600")
    return one_line(secret, str(path))


def _from_descriptor(number: int) -> bytes:
    try:
        with os.fdopen(number, "rb") as file:
            secret = file.read(MAX_SECRET_BYTES + 2)
    except OSError as error:
        raise SealError(f"seal.secret_fd {number}: the secret cannot be read: {error.strerror}") from error
    return one_line(secret, f"descriptor {number}")


def one_line(secret: bytes, where: str) -> bytes:
    """A secret without the line break after it. Raises SealError."""
    line = secret.removesuffix(b"\n").removesuffix(b"\r")
    if not 1 <= len(line) <= MAX_SECRET_BYTES:
        raise SealError(f"{where}: a secret has 1 to {MAX_SECRET_BYTES} bytes, this has {len(line)}")
    return line
