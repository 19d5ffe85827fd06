"""CryptoService: messages to use cases and back, nothing else."""

from typing import Any

import grpc.aio

from qkms.v1 import common_pb2, crypto_pb2_grpc, key_pb2
from qkms.v1 import crypto_pb2 as pb
from qkms_node.errors import InvalidField
from qkms_node.keys.scheme import Manner
from qkms_node.ledger.records import VersionRecord
from qkms_node.rpc import fields
from qkms_node.rpc.header import Headers
from qkms_node.rpc.interceptor import caller
from qkms_node.service.crypto import Bound, Crypto
from qkms_node.service.encapsulating import Encapsulating
from qkms_node.service.freshness import STALE_OK, Wanted
from qkms_node.service.signing import Signing

Context = grpc.aio.ServicerContext[Any, Any]


class CryptoServicer(crypto_pb2_grpc.CryptoServiceServicer):
    """Serves qkms.v1.CryptoService."""

    def __init__(self, crypto: Crypto, signing: Signing, encapsulating: Encapsulating, headers: Headers) -> None:
        self._crypto = crypto
        self._signing = signing
        self._encapsulating = encapsulating
        self._headers = headers

    async def Encrypt(self, request: pb.EncryptRequest, context: Context) -> pb.EncryptResponse:
        sealed, effective = await self._crypto.encrypt(
            caller.get(),
            fields.key_name("name", request.name),
            request.plaintext,
            _bound(request),
            _wanted(request),
        )
        return pb.EncryptResponse(
            header=self._headers.make(effective),
            ciphertext=sealed.ciphertext,
            version=sealed.version.version,
            grade=_grade(sealed.version),
        )

    async def Decrypt(self, request: pb.DecryptRequest, context: Context) -> pb.DecryptResponse:
        plaintext, version, effective = await self._crypto.decrypt(
            caller.get(),
            fields.key_name("name", request.name),
            fields.ciphertext("ciphertext", request.ciphertext),
            request.version,
            _bound(request),
            _wanted(request),
        )
        return pb.DecryptResponse(
            header=self._headers.make(effective), plaintext=plaintext, version=version.version
        )

    async def Rewrap(self, request: pb.RewrapRequest, context: Context) -> pb.RewrapResponse:
        sealed, source, effective = await self._crypto.rewrap(
            caller.get(),
            fields.key_name("name", request.name),
            fields.ciphertext("ciphertext", request.ciphertext),
            _bound(request),
            _wanted(request),
        )
        return pb.RewrapResponse(
            header=self._headers.make(effective),
            ciphertext=sealed.ciphertext,
            version=sealed.version.version,
            source_version=source,
            grade=_grade(sealed.version),
        )

    async def GenerateDataKey(
        self, request: pb.GenerateDataKeyRequest, context: Context
    ) -> pb.GenerateDataKeyResponse:
        plaintext, sealed, effective = await self._crypto.data_key(
            caller.get(),
            fields.key_name("name", request.name),
            fields.context(request.context),
            _wanted(request),
        )
        return pb.GenerateDataKeyResponse(
            header=self._headers.make(effective),
            plaintext=b"" if request.without_plaintext else plaintext,
            ciphertext=sealed.ciphertext,
            version=sealed.version.version,
            grade=_grade(sealed.version),
        )

    async def DeriveKey(self, request: pb.DeriveKeyRequest, context: Context) -> pb.DeriveKeyResponse:
        derived, version, effective = await self._crypto.derive(
            caller.get(),
            fields.key_name("name", request.name),
            request.version,
            fields.context(request.context),
            request.length,
            _wanted(request),
        )
        return pb.DeriveKeyResponse(
            header=self._headers.make(effective),
            derived_key=derived,
            version=version.version,
            grade=_grade(version),
        )

    async def Mac(self, request: pb.MacRequest, context: Context) -> pb.MacResponse:
        mac, version, effective = await self._signing.mac(
            caller.get(),
            fields.key_name("name", request.name),
            fields.message("data", request.data),
            _wanted(request),
        )
        return pb.MacResponse(
            header=self._headers.make(effective), mac=mac, version=version.version, grade=_grade(version)
        )

    async def VerifyMac(self, request: pb.VerifyMacRequest, context: Context) -> pb.VerifyMacResponse:
        valid, version, effective = await self._signing.verify_mac(
            caller.get(),
            fields.key_name("name", request.name),
            request.version,
            fields.message("data", request.data),
            fields.ciphertext("mac", request.mac),
            _wanted(request),
        )
        return pb.VerifyMacResponse(header=self._headers.make(effective), valid=valid, version=version.version)

    async def Sign(self, request: pb.SignRequest, context: Context) -> pb.SignResponse:
        message, manner = _message(request)
        signature, version, effective = await self._signing.sign(
            caller.get(), fields.key_name("name", request.name), message, manner, _wanted(request)
        )
        return pb.SignResponse(
            header=self._headers.make(effective),
            signature=signature,
            version=version.version,
            grade=_grade(version),
        )

    async def Verify(self, request: pb.VerifyRequest, context: Context) -> pb.VerifyResponse:
        message, manner = _message(request)
        valid, version, effective = await self._signing.verify(
            caller.get(),
            fields.key_name("name", request.name),
            request.version,
            message,
            fields.ciphertext("signature", request.signature),
            manner,
            _wanted(request),
        )
        return pb.VerifyResponse(header=self._headers.make(effective), valid=valid, version=version.version)

    async def GetPublicKey(self, request: pb.GetPublicKeyRequest, context: Context) -> pb.GetPublicKeyResponse:
        algorithm, version, effective = await self._signing.public_key(
            caller.get(), fields.key_name("name", request.name), request.version, _wanted(request)
        )
        return pb.GetPublicKeyResponse(
            header=self._headers.make(effective),
            public_key=version.public_key,
            format=pb.RAW_CONCATENATION if algorithm == "X25519MLKEM768" else pb.SPKI_DER,
            algorithm=key_pb2.KeyAlgorithm.Value(algorithm),
            version=version.version,
            grade=_grade(version),
        )

    async def Encapsulate(self, request: pb.EncapsulateRequest, context: Context) -> pb.EncapsulateResponse:
        ciphertext, secret, version, effective = await self._encapsulating.encapsulate(
            caller.get(), fields.key_name("name", request.name), _wanted(request)
        )
        return pb.EncapsulateResponse(
            header=self._headers.make(effective),
            ciphertext=ciphertext,
            shared_secret=secret,
            version=version.version,
            grade=_grade(version),
        )

    async def Decapsulate(self, request: pb.DecapsulateRequest, context: Context) -> pb.DecapsulateResponse:
        secret, version, effective = await self._encapsulating.decapsulate(
            caller.get(),
            fields.key_name("name", request.name),
            request.version,
            fields.ciphertext("ciphertext", request.ciphertext),
            _wanted(request),
        )
        return pb.DecapsulateResponse(
            header=self._headers.make(effective), shared_secret=secret, version=version.version
        )

    async def RandomBytes(self, request: pb.RandomBytesRequest, context: Context) -> pb.RandomBytesResponse:
        data = self._crypto.random_bytes(caller.get(), request.length)
        return pb.RandomBytesResponse(header=self._headers.make(STALE_OK), data=data)


def _bound(request: pb.EncryptRequest | pb.DecryptRequest | pb.RewrapRequest) -> Bound:
    return Bound(fields.context(request.context), fields.aad(request.additional_authenticated_data))


def _message(request: pb.SignRequest | pb.VerifyRequest) -> tuple[bytes, Manner]:
    given = request.WhichOneof("input")
    if given is None:
        raise InvalidField("message", "is needed, or a digest; an empty message is sent as such")
    if request.encoding not in pb.SignatureEncoding.values():
        raise InvalidField("encoding", f"is {request.encoding}, which is no encoding")
    manner = Manner(given == "digest", request.context, raw=request.encoding == pb.P1363)
    return fields.message(given, request.digest if manner.digested else request.message), manner


_Consistent = (
    pb.EncryptRequest
    | pb.DecryptRequest
    | pb.RewrapRequest
    | pb.GenerateDataKeyRequest
    | pb.DeriveKeyRequest
    | pb.MacRequest
    | pb.VerifyMacRequest
    | pb.SignRequest
    | pb.VerifyRequest
    | pb.GetPublicKeyRequest
    | pb.EncapsulateRequest
    | pb.DecapsulateRequest
)


def _wanted(request: _Consistent) -> Wanted | None:
    return fields.wanted(request.consistency, request.HasField("consistency"))


def _grade(version: VersionRecord) -> "common_pb2.Grade.ValueType":
    return int(version.grade)  # type: ignore[return-value]
