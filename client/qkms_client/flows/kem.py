"""Key encapsulation with keys."""

from qkms.v1 import crypto_pb2 as pb
from qkms_client import decode, methods
from qkms_client.call import Rules, call
from qkms_client.consistency import Consistency
from qkms_client.flow import Flow
from qkms_client.names import key_name, needed_version
from qkms_client.secret import Decapsulated, Encapsulated
from qkms_client.types import Key


def encapsulate(
    rules: Rules, key: str | Key, consistency: Consistency | None, timeout: float | None
) -> Flow[Encapsulated]:
    """Encapsulate."""
    request = pb.EncapsulateRequest(name=key_name(key))
    return decode.encapsulated(
        (yield from call(rules, methods.ENCAPSULATE, request, consistency=consistency, timeout=timeout))
    )


def decapsulate(
    rules: Rules,
    key: str | Key,
    ciphertext: bytes | Encapsulated,
    version: int | None,
    consistency: Consistency | None,
    timeout: float | None,
) -> Flow[Decapsulated]:
    """Decapsulate."""
    known = ciphertext.version if isinstance(ciphertext, Encapsulated) else None
    request = pb.DecapsulateRequest(
        name=key_name(key),
        version=needed_version(version, known, "ciphertext"),
        ciphertext=ciphertext.ciphertext if isinstance(ciphertext, Encapsulated) else ciphertext,
    )
    return decode.decapsulated(
        (yield from call(rules, methods.DECAPSULATE, request, consistency=consistency, timeout=timeout))
    )
