"""KeyService: messages to use cases and back, nothing else."""

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from qkms.v1 import key_pb2 as pb
from qkms_node.config_sections import LimitsSection
from qkms_node.errors import InvalidField
from qkms_node.ledger.commands import Outcome
from qkms_node.rpc import fields, key_fields, messages, paging
from qkms_node.rpc.header import Headers, mutation_request
from qkms_node.rpc.interceptor import caller
from qkms_node.rpc.staging_servicer import StagingMethods
from qkms_node.rpc.watch_encoding import encoded
from qkms_node.service.freshness import LINEARIZABLE
from qkms_node.service.keys import Keys
from qkms_node.service.staging import Staging
from qkms_node.service.transport import Transport
from qkms_node.service.watching import Watching

Context = grpc.aio.ServicerContext[Any, Any]

MAX_GRACE_MS = 120 * 24 * 3600 * 1000


class KeyServicer(StagingMethods):
    """Serves qkms.v1.KeyService."""

    def __init__(
        self,
        keys: Keys,
        staging: Staging,
        transport: Transport,
        watching: Watching,
        headers: Headers,
        limits: LimitsSection,
    ) -> None:
        super().__init__(keys, staging, transport, headers)
        self._watching = watching
        self._limits = limits

    async def CreateKey(self, request: pb.CreateKeyRequest, context: Context) -> pb.CreateKeyResponse:
        outcome = await self._keys.create(
            mutation_request(request, request.request_id),
            fields.key_id("key_id", request.key_id),
            key_fields.settings(request, self._limits),
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
        after = paging.after(request, request.page_token)
        passing = key_fields.key_filter(request.filter)
        records = await self._keys.page(caller.get(), passing, after, size, wanted)
        return pb.ListKeysResponse(
            header=self._headers.make(wanted),
            keys=[messages.key(r) for r in records],
            next_page_token=paging.token(request, records[-1].key_id) if len(records) == size else "",
        )

    async def ListVersions(self, request: pb.ListVersionsRequest, context: Context) -> pb.ListVersionsResponse:
        wanted = fields.wanted(request.consistency, request.HasField("consistency")) or LINEARIZABLE
        key_id = fields.key_name("parent", request.parent)
        size = fields.page_size(request.page_size)
        after = paging.after(request, request.page_token) or "0"
        if not after.isdecimal():
            raise InvalidField("page_token", "is not one that ListVersions gave out")
        states = key_fields.version_states(list(request.states))
        records = await self._keys.versions(caller.get(), key_id, states, int(after), size, wanted)
        return pb.ListVersionsResponse(
            header=self._headers.make(wanted),
            versions=[messages.version(key_id, record, ids) for record, ids in records],
            next_page_token=paging.token(request, str(records[-1][0].version)) if len(records) == size else "",
        )

    async def UpdateKey(self, request: pb.UpdateKeyRequest, context: Context) -> pb.UpdateKeyResponse:
        outcome = await self._keys.update(
            mutation_request(request, request.request_id),
            fields.key_name("key.name", request.key.name),
            key_fields.changes(request),
            key_fields.revision_of("key.etag", request.key.etag),
        )
        assert outcome.key is not None
        return pb.UpdateKeyResponse(
            header=self._headers.make(), key=messages.key(outcome.key), replayed=outcome.replayed
        )

    async def DisableKey(self, request: pb.DisableKeyRequest, context: Context) -> pb.DisableKeyResponse:
        outcome = await self._switch("keys.disable", request)
        assert outcome.key is not None
        return pb.DisableKeyResponse(
            header=self._headers.make(), key=messages.key(outcome.key), replayed=outcome.replayed
        )

    async def EnableKey(self, request: pb.EnableKeyRequest, context: Context) -> pb.EnableKeyResponse:
        outcome = await self._switch("keys.enable", request)
        assert outcome.key is not None
        return pb.EnableKeyResponse(
            header=self._headers.make(), key=messages.key(outcome.key), replayed=outcome.replayed
        )

    async def DeleteKey(self, request: pb.DeleteKeyRequest, context: Context) -> pb.DeleteKeyResponse:
        outcome = await self._keys.delete(
            mutation_request(request, request.request_id),
            fields.key_name("name", request.name),
            key_fields.revision_of("etag", request.etag),
        )
        assert outcome.key is not None
        return pb.DeleteKeyResponse(
            header=self._headers.make(), key=messages.key(outcome.key), replayed=outcome.replayed
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

    async def CompromiseVersion(
        self, request: pb.CompromiseVersionRequest, context: Context
    ) -> pb.CompromiseVersionResponse:
        key_id, number = fields.version_name("name", request.name)
        identity = mutation_request(request, request.request_id)
        outcome = await self._keys.compromise(identity, key_id, number, key_fields.reason(request.reason))
        return pb.CompromiseVersionResponse(
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

    async def _switch(self, action: str, request: pb.DisableKeyRequest | pb.EnableKeyRequest) -> Outcome:
        key_id = fields.key_name("name", request.name)
        return await self._keys.switch(action, mutation_request(request, request.request_id), key_id)
