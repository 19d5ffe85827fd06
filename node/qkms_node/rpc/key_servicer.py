"""KeyService: messages to use cases and back, nothing else."""

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from qkms.v1 import key_pb2 as pb
from qkms.v1 import key_pb2_grpc
from qkms_node.config import LimitsSection
from qkms_node.errors import InvalidField
from qkms_node.ledger.commands import Outcome
from qkms_node.rpc import fields, messages
from qkms_node.rpc.header import Headers, mutation_request
from qkms_node.rpc.server import caller
from qkms_node.rpc.watch_encoding import encoded
from qkms_node.service.freshness import LINEARIZABLE
from qkms_node.service.keys import Keys
from qkms_node.service.watching import Watching

Context = grpc.aio.ServicerContext[Any, Any]

MAX_STALENESS_MS = 3_600_000
MAX_GRACE_MS = 120 * 24 * 3600 * 1000


class KeyServicer(key_pb2_grpc.KeyServiceServicer):
    """Serves qkms.v1.KeyService."""

    def __init__(self, keys: Keys, watching: Watching, headers: Headers, limits: LimitsSection) -> None:
        self._keys = keys
        self._watching = watching
        self._headers = headers
        self._limits = limits

    async def CreateKey(self, request: pb.CreateKeyRequest, context: Context) -> pb.CreateKeyResponse:
        if request.algorithm not in pb.KeyAlgorithm.values() or not request.algorithm:
            known = ", ".join(pb.KeyAlgorithm.keys()[1:])
            raise InvalidField("algorithm", f"is missing or unknown; there are: {known}")
        staleness_ms = self._limits.default_max_staleness_ms
        if request.HasField("max_staleness"):
            staleness_ms = fields.milliseconds("max_staleness", request.max_staleness, 1, MAX_STALENESS_MS)
        outcome = await self._keys.create(
            mutation_request(request, request.request_id),
            fields.key_id("key_id", request.key_id),
            pb.KeyAlgorithm.Name(request.algorithm),
            fields.grade("required_grade", request.required_grade),
            staleness_ms,
            fields.labels(request.labels),
        )
        assert outcome.key is not None
        return pb.CreateKeyResponse(
            header=self._headers.make(), key=messages.key(outcome.key), replayed=outcome.replayed
        )

    async def GetKey(self, request: pb.GetKeyRequest, context: Context) -> pb.GetKeyResponse:
        wanted = fields.wanted(request.consistency, request.HasField("consistency")) or LINEARIZABLE
        key_id = fields.key_name("name", request.name)
        record = await self._keys.get(caller.get(), key_id, wanted)
        return pb.GetKeyResponse(header=self._headers.make(wanted), key=messages.key(record))

    async def ListKeys(self, request: pb.ListKeysRequest, context: Context) -> pb.ListKeysResponse:
        wanted = fields.wanted(request.consistency, request.HasField("consistency")) or LINEARIZABLE
        size = fields.page_size(request.page_size)
        after = fields.key_id("page_token", request.page_token) if request.page_token else ""
        records = await self._keys.page(caller.get(), after, size, wanted)
        return pb.ListKeysResponse(
            header=self._headers.make(wanted),
            keys=[messages.key(r) for r in records],
            next_page_token=records[-1].key_id if len(records) == size else "",
        )

    async def ListVersions(self, request: pb.ListVersionsRequest, context: Context) -> pb.ListVersionsResponse:
        wanted = fields.wanted(request.consistency, request.HasField("consistency")) or LINEARIZABLE
        key_id = fields.key_name("parent", request.parent)
        size = fields.page_size(request.page_size)
        if request.page_token and not request.page_token.isdecimal():
            raise InvalidField("page_token", "is not one that ListVersions gave out")
        records = await self._keys.versions(caller.get(), key_id, int(request.page_token or 0), size, wanted)
        return pb.ListVersionsResponse(
            header=self._headers.make(wanted),
            versions=[messages.version(key_id, record, ids) for record, ids in records],
            next_page_token=str(records[-1][0].version) if len(records) == size else "",
        )

    async def RotateKey(self, request: pb.RotateKeyRequest, context: Context) -> pb.RotateKeyResponse:
        key_id = fields.key_name("name", request.name)
        if not request.expected_primary_version:
            raise InvalidField("expected_primary_version", "is needed: the primary version you believe in")
        outcome = await self._keys.rotate(
            mutation_request(request, request.request_id), key_id, request.expected_primary_version
        )
        assert outcome.key is not None
        return pb.RotateKeyResponse(
            header=self._headers.make(),
            key=messages.key(outcome.key),
            version=self._version(key_id, outcome),
            replayed=outcome.replayed,
        )

    async def DisableVersion(
        self, request: pb.DisableVersionRequest, context: Context
    ) -> pb.DisableVersionResponse:
        key_id, outcome = await self._change("keys.disable", request)
        return pb.DisableVersionResponse(
            header=self._headers.make(), version=self._version(key_id, outcome), replayed=outcome.replayed
        )

    async def EnableVersion(self, request: pb.EnableVersionRequest, context: Context) -> pb.EnableVersionResponse:
        key_id, outcome = await self._change("keys.enable", request)
        return pb.EnableVersionResponse(
            header=self._headers.make(), version=self._version(key_id, outcome), replayed=outcome.replayed
        )

    async def RestoreVersion(
        self, request: pb.RestoreVersionRequest, context: Context
    ) -> pb.RestoreVersionResponse:
        key_id, outcome = await self._change("keys.restore", request)
        return pb.RestoreVersionResponse(
            header=self._headers.make(), version=self._version(key_id, outcome), replayed=outcome.replayed
        )

    async def DestroyVersion(
        self, request: pb.DestroyVersionRequest, context: Context
    ) -> pb.DestroyVersionResponse:
        key_id, number = fields.version_name("name", request.name)
        grace_ms = self._limits.default_destroy_grace_ms
        if request.HasField("grace"):
            grace_ms = fields.milliseconds("grace", request.grace, 0, MAX_GRACE_MS)
        outcome = await self._keys.destroy(mutation_request(request, request.request_id), key_id, number, grace_ms)
        return pb.DestroyVersionResponse(
            header=self._headers.make(), version=self._version(key_id, outcome), replayed=outcome.replayed
        )

    async def WatchKeys(self, request: pb.WatchKeysRequest, context: Context) -> AsyncIterator[Any]:
        # Serialized responses, which the server passes on as they are.
        key_id = fields.key_name("name", request.name) if request.name else ""
        async for delivery in self._watching.watch(caller.get(), key_id, request.resume_token):
            yield encoded(self._headers.make(self._watching.consistency), delivery)

    async def _change(
        self,
        action: str,
        request: pb.DisableVersionRequest | pb.EnableVersionRequest | pb.RestoreVersionRequest,
    ) -> tuple[str, Outcome]:
        key_id, number = fields.version_name("name", request.name)
        identity = mutation_request(request, request.request_id)
        return key_id, await self._keys.change(action, identity, key_id, number)

    def _version(self, key_id: str, outcome: Outcome) -> pb.KeyVersion:
        assert outcome.version is not None
        record, ids = self._keys.with_provenance(outcome.version)
        return messages.version(key_id, record, ids)
