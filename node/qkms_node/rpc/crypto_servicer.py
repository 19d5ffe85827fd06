"""CryptoService: messages to use cases and back, nothing else."""

from typing import Any

import grpc.aio

from qkms.v1 import crypto_pb2 as pb
from qkms.v1 import crypto_pb2_grpc
from qkms_node.rpc import fields
from qkms_node.rpc.header import Headers
from qkms_node.rpc.server import caller
from qkms_node.service.crypto import Crypto
from qkms_node.service.freshness import STALE_OK

Context = grpc.aio.ServicerContext[Any, Any]


class CryptoServicer(crypto_pb2_grpc.CryptoServiceServicer):
    """Serves qkms.v1.CryptoService."""

    def __init__(self, crypto: Crypto, headers: Headers) -> None:
        self._crypto = crypto
        self._headers = headers

    async def Encrypt(self, request: pb.EncryptRequest, context: Context) -> pb.EncryptResponse:
        sealed, effective = await self._crypto.encrypt(
            caller.get(),
            fields.key_name("name", request.name),
            request.plaintext,
            fields.context(request.context),
            fields.aad(request.additional_authenticated_data),
            fields.wanted(request.consistency, request.HasField("consistency")),
        )
        return pb.EncryptResponse(
            header=self._headers.make(effective),
            ciphertext=sealed.ciphertext,
            version=sealed.version.version,
            grade=int(sealed.version.grade),  # type: ignore[arg-type]
        )

    async def Decrypt(self, request: pb.DecryptRequest, context: Context) -> pb.DecryptResponse:
        plaintext, version, effective = await self._crypto.decrypt(
            caller.get(),
            fields.key_name("name", request.name),
            request.ciphertext,
            fields.context(request.context),
            fields.aad(request.additional_authenticated_data),
            fields.wanted(request.consistency, request.HasField("consistency")),
        )
        return pb.DecryptResponse(
            header=self._headers.make(effective), plaintext=plaintext, version=version.version
        )

    async def GenerateDataKey(
        self, request: pb.GenerateDataKeyRequest, context: Context
    ) -> pb.GenerateDataKeyResponse:
        plaintext, sealed, effective = await self._crypto.data_key(
            caller.get(),
            fields.key_name("name", request.name),
            fields.context(request.context),
            fields.wanted(request.consistency, request.HasField("consistency")),
        )
        return pb.GenerateDataKeyResponse(
            header=self._headers.make(effective),
            plaintext=b"" if request.without_plaintext else plaintext,
            ciphertext=sealed.ciphertext,
            version=sealed.version.version,
            grade=int(sealed.version.grade),  # type: ignore[arg-type]
        )

    async def DeriveKey(self, request: pb.DeriveKeyRequest, context: Context) -> pb.DeriveKeyResponse:
        derived, version, effective = await self._crypto.derive(
            caller.get(),
            fields.key_name("name", request.name),
            request.version,
            fields.context(request.context),
            fields.wanted(request.consistency, request.HasField("consistency")),
        )
        return pb.DeriveKeyResponse(
            header=self._headers.make(effective),
            derived_key=derived,
            version=version.version,
            grade=int(version.grade),  # type: ignore[arg-type]
        )

    async def RandomBytes(self, request: pb.RandomBytesRequest, context: Context) -> pb.RandomBytesResponse:
        data = self._crypto.random_bytes(caller.get(), request.length)
        return pb.RandomBytesResponse(header=self._headers.make(STALE_OK), data=data)
