"""Use of secret keys: encrypt, decrypt, rewrap, data keys, derived keys, random bytes."""

from collections.abc import Mapping

from qkms.v1 import crypto_pb2 as pb
from qkms_client import decode, methods
from qkms_client.call import Rules, call
from qkms_client.consistency import Consistency
from qkms_client.flow import Flow
from qkms_client.names import key_name
from qkms_client.secret import DataKey, Decrypted, DerivedKey
from qkms_client.types import Encrypted, Key, Rewrapped


def encrypt(
    rules: Rules,
    key: str | Key,
    plaintext: bytes,
    context: Mapping[str, str] | None,
    aad: bytes,
    consistency: Consistency | None,
    timeout: float | None,
) -> Flow[Encrypted]:
    """Encrypt."""
    request = pb.EncryptRequest(
        name=key_name(key), plaintext=plaintext, context=context, additional_authenticated_data=aad
    )
    return decode.encrypted(
        (yield from call(rules, methods.ENCRYPT, request, consistency=consistency, timeout=timeout))
    )


def decrypt(
    rules: Rules,
    key: str | Key,
    ciphertext: bytes | Encrypted,
    version: int | None,
    context: Mapping[str, str] | None,
    aad: bytes,
    consistency: Consistency | None,
    timeout: float | None,
) -> Flow[Decrypted]:
    """Decrypt."""
    known = ciphertext.version if isinstance(ciphertext, Encrypted) else 0
    request = pb.DecryptRequest(
        name=key_name(key),
        ciphertext=_bytes(ciphertext),
        version=known if version is None else version,
        context=context,
        additional_authenticated_data=aad,
    )
    return decode.decrypted(
        (yield from call(rules, methods.DECRYPT, request, consistency=consistency, timeout=timeout))
    )


def rewrap(
    rules: Rules,
    key: str | Key,
    ciphertext: bytes | Encrypted,
    context: Mapping[str, str] | None,
    aad: bytes,
    consistency: Consistency | None,
    timeout: float | None,
) -> Flow[Rewrapped]:
    """Rewrap."""
    request = pb.RewrapRequest(
        name=key_name(key), ciphertext=_bytes(ciphertext), context=context, additional_authenticated_data=aad
    )
    return decode.rewrapped(
        (yield from call(rules, methods.REWRAP, request, consistency=consistency, timeout=timeout))
    )


def generate_data_key(
    rules: Rules,
    key: str | Key,
    context: Mapping[str, str] | None,
    without_plaintext: bool,
    consistency: Consistency | None,
    timeout: float | None,
) -> Flow[DataKey]:
    """GenerateDataKey."""
    request = pb.GenerateDataKeyRequest(name=key_name(key), context=context, without_plaintext=without_plaintext)
    return decode.data_key(
        (yield from call(rules, methods.GENERATE_DATA_KEY, request, consistency=consistency, timeout=timeout))
    )


def derive_key(
    rules: Rules,
    key: str | Key,
    context: Mapping[str, str],
    version: int | None,
    length: int,
    consistency: Consistency | None,
    timeout: float | None,
) -> Flow[DerivedKey]:
    """DeriveKey."""
    request = pb.DeriveKeyRequest(name=key_name(key), version=version or 0, context=context, length=length)
    return decode.derived_key(
        (yield from call(rules, methods.DERIVE_KEY, request, consistency=consistency, timeout=timeout))
    )


def random_bytes(rules: Rules, length: int, timeout: float | None) -> Flow[bytes]:
    """RandomBytes."""
    request = pb.RandomBytesRequest(length=length)
    response = yield from call(rules, methods.RANDOM_BYTES, request, timeout=timeout)
    return response.data


def _bytes(ciphertext: bytes | Encrypted) -> bytes:
    return ciphertext.ciphertext if isinstance(ciphertext, Encrypted) else ciphertext
