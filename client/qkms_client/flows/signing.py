"""Authentication with keys: sign, verify, MAC, and public keys."""

from dataclasses import dataclass

from qkms.v1 import crypto_pb2 as pb
from qkms_client import decode, methods
from qkms_client.call import Rules, call
from qkms_client.consistency import Consistency
from qkms_client.flow import Flow
from qkms_client.names import key_name, needed_version
from qkms_client.types import Key, Mac, PublicKey, Signature, Verification


@dataclass(frozen=True)
class Manner:
    """How to sign: the message `digested` already, under a `context`, ECDSA as r || s (`p1363`)."""

    digested: bool
    context: bytes
    p1363: bool

    @property
    def encoding(self) -> "pb.SignatureEncoding.ValueType":
        """As the protocol says it."""
        return pb.P1363 if self.p1363 else pb.SIGNATURE_ENCODING_UNSPECIFIED


def sign(
    rules: Rules,
    key: str | Key,
    message: bytes,
    manner: Manner,
    consistency: Consistency | None,
    timeout: float | None,
) -> Flow[Signature]:
    """Sign."""
    request = pb.SignRequest(name=key_name(key), context=manner.context, encoding=manner.encoding)
    _set_input(request, message, manner)
    return decode.signature(
        (yield from call(rules, methods.SIGN, request, consistency=consistency, timeout=timeout))
    )


def verify(
    rules: Rules,
    key: str | Key,
    message: bytes,
    signature: bytes | Signature,
    version: int | None,
    manner: Manner,
    consistency: Consistency | None,
    timeout: float | None,
) -> Flow[Verification]:
    """Verify."""
    known = signature.version if isinstance(signature, Signature) else None
    request = pb.VerifyRequest(
        name=key_name(key),
        version=needed_version(version, known, "signature"),
        context=manner.context,
        encoding=manner.encoding,
        signature=signature.signature if isinstance(signature, Signature) else signature,
    )
    _set_input(request, message, manner)
    return decode.verification(
        (yield from call(rules, methods.VERIFY, request, consistency=consistency, timeout=timeout))
    )


def mac(
    rules: Rules, key: str | Key, data: bytes, consistency: Consistency | None, timeout: float | None
) -> Flow[Mac]:
    """Mac."""
    request = pb.MacRequest(name=key_name(key), data=data)
    return decode.mac((yield from call(rules, methods.MAC, request, consistency=consistency, timeout=timeout)))


def verify_mac(
    rules: Rules,
    key: str | Key,
    data: bytes,
    mac: bytes | Mac,
    version: int | None,
    consistency: Consistency | None,
    timeout: float | None,
) -> Flow[Verification]:
    """VerifyMac."""
    known = mac.version if isinstance(mac, Mac) else None
    request = pb.VerifyMacRequest(
        name=key_name(key),
        version=needed_version(version, known, "MAC"),
        data=data,
        mac=mac.mac if isinstance(mac, Mac) else mac,
    )
    return decode.verification(
        (yield from call(rules, methods.VERIFY_MAC, request, consistency=consistency, timeout=timeout))
    )


def get_public_key(
    rules: Rules, key: str | Key, version: int | None, consistency: Consistency | None, timeout: float | None
) -> Flow[PublicKey]:
    """GetPublicKey."""
    request = pb.GetPublicKeyRequest(name=key_name(key), version=version or 0)
    return decode.public_key(
        (yield from call(rules, methods.GET_PUBLIC_KEY, request, consistency=consistency, timeout=timeout))
    )


def _set_input(request: pb.SignRequest | pb.VerifyRequest, message: bytes, manner: Manner) -> None:
    if manner.digested:
        request.digest = message
    else:
        request.message = message
