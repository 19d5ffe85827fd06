"""CryptoService: use of keys."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from qkms_client.consistency import Consistency
from qkms_client.flows import crypto as flows
from qkms_client.secret import DataKey, Decrypted, DerivedKey
from qkms_client.sync.runner import Runner
from qkms_client.types import Encrypted, Key, Rewrapped


class CryptoCalls(Runner):
    """`context` are pairs bound into the derived key, `aad` is authenticated with the data; neither
    is secret, and both are needed again to decrypt."""

    def encrypt(
        self,
        key: str | Key,
        plaintext: bytes,
        *,
        context: Mapping[str, str] | None = None,
        aad: bytes = b"",
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> Encrypted:
        """Encrypts up to 65536 bytes under the primary version. Raises KeyNotFound, PlaintextTooLarge,
        VersionDisabled."""
        return self._run(flows.encrypt(self._rules, key, plaintext, context, aad, consistency, timeout))

    def decrypt(
        self,
        key: str | Key,
        ciphertext: bytes | Encrypted,
        *,
        version: int | None = None,
        context: Mapping[str, str] | None = None,
        aad: bytes = b"",
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> Decrypted:
        """Opens a ciphertext of encrypt or generate_data_key. Raises CiphertextMalformed,
        CiphertextRejected, VersionDisabled, VersionDestroyed.

        The ciphertext says its version; one of RSA-OAEP does not: pass the Encrypted, or `version`.
        """
        return self._run(flows.decrypt(self._rules, key, ciphertext, version, context, aad, consistency, timeout))

    def rewrap(
        self,
        key: str | Key,
        ciphertext: bytes | Encrypted,
        *,
        context: Mapping[str, str] | None = None,
        aad: bytes = b"",
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> Rewrapped:
        """A ciphertext under the primary version, without its plaintext leaving the node; one that is
        under it already comes back as it is. Raises as decrypt does."""
        return self._run(flows.rewrap(self._rules, key, ciphertext, context, aad, consistency, timeout))

    def rewrap_all(
        self,
        key: str | Key,
        ciphertexts: Iterable[bytes],
        *,
        context: Mapping[str, str] | None = None,
        aad: bytes = b"",
        in_flight: int = 8,
        timeout: float | None = None,
    ) -> Iterator[Rewrapped]:
        """Rewraps many ciphertexts of one context, in their order, `in_flight` at once (`timeout` is for each).

        Takes and holds no more of `ciphertexts` than are in flight. Raises at the first that
        fails, after the results of all before it were given: go on from there.
        """
        waiting: deque[Future[Rewrapped]] = deque()
        with ThreadPoolExecutor(in_flight) as pool:
            try:
                for ciphertext in ciphertexts:
                    waiting.append(
                        pool.submit(self.rewrap, key, ciphertext, context=context, aad=aad, timeout=timeout)
                    )
                    if len(waiting) == in_flight:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for pending in waiting:
                    pending.cancel()

    def generate_data_key(
        self,
        key: str | Key,
        *,
        context: Mapping[str, str] | None = None,
        without_plaintext: bool = False,
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> DataKey:
        """A fresh data key of 32 bytes, in clear and encrypted; open it again with decrypt."""
        return self._run(
            flows.generate_data_key(self._rules, key, context, without_plaintext, consistency, timeout)
        )

    def derive_key(
        self,
        key: str | Key,
        context: Mapping[str, str],
        *,
        version: int | None = None,
        length: int = 32,
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> DerivedKey:
        """The derived key (`length` bytes, 16 to 1024) of a version, the primary by default, for a
        context of at least one pair. Keep the version of the answer to derive the same key after a rotation."""
        return self._run(flows.derive_key(self._rules, key, context, version, length, consistency, timeout))

    def random_bytes(self, length: int, *, timeout: float | None = None) -> bytes:
        """1 to 65536 bytes from a node's operating system generator."""
        return self._run(flows.random_bytes(self._rules, length, timeout))
