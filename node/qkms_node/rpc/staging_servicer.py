"""The methods of KeyService on staged versions, and on material that comes in or goes out."""

from typing import Any

import grpc.aio

from qkms.v1 import key_pb2 as pb
from qkms.v1 import key_pb2_grpc
from qkms_node.errors import InvalidField
from qkms_node.ledger.commands import Outcome
from qkms_node.rpc import fields, key_fields, messages
from qkms_node.rpc.header import Headers, mutation_request
from qkms_node.rpc.interceptor import caller
from qkms_node.service.freshness import LINEARIZABLE
from qkms_node.service.keys import Keys
from qkms_node.service.staging import Staging
from qkms_node.service.transport import Transport

Context = grpc.aio.ServicerContext[Any, Any]


class StagingMethods(key_pb2_grpc.KeyServiceServicer):
    """StageVersion to AbortVersion, import and export."""

    def __init__(self, keys: Keys, staging: Staging, transport: Transport, headers: Headers) -> None:
        self._keys = keys
        self._staging = staging
        self._transport = transport
        self._headers = headers

    async def StageVersion(self, request: pb.StageVersionRequest, context: Context) -> pb.StageVersionResponse:
        key_id = fields.key_name("name", request.name)
        outcome = await self._staging.stage(mutation_request(request, request.request_id), key_id)
        return pb.StageVersionResponse(
            header=self._headers.make(), version=self._version(key_id, outcome), replayed=outcome.replayed
        )

    async def ValidateVersion(
        self, request: pb.ValidateVersionRequest, context: Context
    ) -> pb.ValidateVersionResponse:
        key_id, number = fields.version_name("name", request.name)
        outcome = await self._staging.validate(mutation_request(request, request.request_id), key_id, number)
        return pb.ValidateVersionResponse(
            header=self._headers.make(), version=self._version(key_id, outcome), replayed=outcome.replayed
        )

    async def ActivateVersion(
        self, request: pb.ActivateVersionRequest, context: Context
    ) -> pb.ActivateVersionResponse:
        key_id, number = fields.version_name("name", request.name)
        if not request.HasField("expected_primary_version"):
            raise InvalidField("expected_primary_version", "is needed: the primary version you believe in, or 0")
        outcome = await self._staging.activate(
            mutation_request(request, request.request_id), key_id, number, request.expected_primary_version
        )
        assert outcome.key is not None
        return pb.ActivateVersionResponse(
            header=self._headers.make(),
            key=messages.key(outcome.key),
            version=self._version(key_id, outcome),
            replayed=outcome.replayed,
            already_active=not outcome.changed,
        )

    async def AbortVersion(self, request: pb.AbortVersionRequest, context: Context) -> pb.AbortVersionResponse:
        key_id, number = fields.version_name("name", request.name)
        identity = mutation_request(request, request.request_id)
        outcome = await self._staging.abort(identity, key_id, number, key_fields.reason(request.reason))
        return pb.AbortVersionResponse(
            header=self._headers.make(), version=self._version(key_id, outcome), replayed=outcome.replayed
        )

    async def GetImportParameters(
        self, request: pb.GetImportParametersRequest, context: Context
    ) -> pb.GetImportParametersResponse:
        key_id = fields.key_name("name", request.name)
        method = key_fields.method(request.method)
        outcome = await self._transport.open_import(mutation_request(request, request.request_id), key_id, method)
        assert outcome.wrapping is not None
        return pb.GetImportParametersResponse(
            header=self._headers.make(),
            parameters=messages.import_parameters(outcome.wrapping),
            replayed=outcome.replayed,
        )

    async def ImportVersion(self, request: pb.ImportVersionRequest, context: Context) -> pb.ImportVersionResponse:
        key_id, import_id = key_fields.import_name("name", request.name)
        wrapped = key_fields.wrapped(request.wrapped_material)
        identity = mutation_request(request, request.request_id)
        outcome = await self._transport.import_version(identity, key_id, import_id, wrapped)
        return pb.ImportVersionResponse(
            header=self._headers.make(), version=self._version(key_id, outcome), replayed=outcome.replayed
        )

    async def ExportVersion(self, request: pb.ExportVersionRequest, context: Context) -> pb.ExportVersionResponse:
        wanted = fields.wanted(request.consistency, request.HasField("consistency")) or LINEARIZABLE
        key_id, number = fields.version_name("name", request.name)
        method = key_fields.method(request.method)
        wrapped, version = await self._transport.export(
            caller.get(), key_id, number, method, request.public_key, wanted
        )
        return pb.ExportVersionResponse(
            header=self._headers.make(wanted),
            wrapped_material=wrapped,
            version=version.version,
            grade=int(version.grade),  # type: ignore[arg-type]
        )

    def _version(self, key_id: str, outcome: Outcome) -> pb.KeyVersion:
        assert outcome.version is not None
        record, ids = self._keys.with_provenance(outcome.version)
        return messages.version(key_id, record, ids)
