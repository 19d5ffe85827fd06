"""KeyService: settings of keys, staged versions, compromise, deletion, import and export."""

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from qkms.wrapping import Method
from qkms_client.aio.runner import AsyncRunner
from qkms_client.base import new_request_id
from qkms_client.consistency import Consistency
from qkms_client.flows import lifecycle as flows
from qkms_client.flows import transport
from qkms_client.private_keys import to_pkcs8
from qkms_client.secret import ExportedMaterial
from qkms_client.types import Activation, Grade, ImportParameters, Key, KeyVersion


class AsyncLifecycleCalls(AsyncRunner):
    """What keys and versions go through; request ids and timeouts as in KeyCalls."""

    async def update_key(
        self,
        key: str | Key,
        *,
        etag: str = "",
        labels: Mapping[str, str] | None = None,
        required_grade: Grade | None = None,
        max_staleness: timedelta | None = None,
        rotation_period: timedelta | None = None,
        min_decrypt_version: int | None = None,
        min_encrypt_version: int | None = None,
        deletion_protection: bool | None = None,
        allow_compromised_decrypt: bool | None = None,
        prefer_qkd: bool | None = None,
        refuse_relays: bool | None = None,
        max_qber: float | None = None,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> Key:
        """As Client.update_key."""
        request = flows.key_update(
            key,
            etag,
            labels,
            required_grade,
            max_staleness,
            rotation_period,
            min_decrypt_version,
            min_encrypt_version,
            deletion_protection,
            allow_compromised_decrypt,
            prefer_qkd,
            refuse_relays,
            max_qber,
        )
        return await self._run(flows.update_key(self._rules, request, new_request_id(request_id), timeout))

    async def disable_key(
        self, key: str | Key, *, request_id: str | UUID | None = None, timeout: float | None = None
    ) -> Key:
        """As Client.disable_key."""
        return await self._run(flows.disable_key(self._rules, key, new_request_id(request_id), timeout))

    async def enable_key(
        self, key: str | Key, *, request_id: str | UUID | None = None, timeout: float | None = None
    ) -> Key:
        """As Client.enable_key."""
        return await self._run(flows.enable_key(self._rules, key, new_request_id(request_id), timeout))

    async def delete_key(
        self,
        key: str | Key,
        *,
        etag: str = "",
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> Key:
        """As Client.delete_key."""
        return await self._run(flows.delete_key(self._rules, key, etag, new_request_id(request_id), timeout))

    async def stage_version(
        self, key: str | Key, *, request_id: str | UUID | None = None, timeout: float | None = None
    ) -> KeyVersion:
        """As Client.stage_version."""
        return await self._run(flows.stage_version(self._rules, key, new_request_id(request_id), timeout))

    async def validate_version(
        self,
        key: str | Key | KeyVersion,
        version: int | None = None,
        *,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> KeyVersion:
        """As Client.validate_version."""
        identifier = new_request_id(request_id)
        return await self._run(flows.validate_version(self._rules, key, version, identifier, timeout))

    async def activate_version(
        self,
        key: str | Key | KeyVersion,
        version: int | None = None,
        *,
        expected_primary_version: int | None = None,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> Activation:
        """As Client.activate_version."""
        identifier = new_request_id(request_id)
        return await self._run(
            flows.activate_version(self._rules, key, version, expected_primary_version, identifier, timeout)
        )

    async def abort_version(
        self,
        key: str | Key | KeyVersion,
        version: int | None = None,
        *,
        reason: str = "",
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> KeyVersion:
        """As Client.abort_version."""
        identifier = new_request_id(request_id)
        return await self._run(flows.abort_version(self._rules, key, version, reason, identifier, timeout))

    async def compromise_version(
        self,
        key: str | Key | KeyVersion,
        version: int | None = None,
        *,
        reason: str = "",
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> KeyVersion:
        """As Client.compromise_version."""
        identifier = new_request_id(request_id)
        return await self._run(flows.compromise_version(self._rules, key, version, reason, identifier, timeout))

    async def get_import_parameters(
        self,
        key: str | Key,
        method: Method = Method.MLKEM768_AES_KWP,
        *,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> ImportParameters:
        """As Client.get_import_parameters."""
        identifier = new_request_id(request_id)
        return await self._run(transport.get_import_parameters(self._rules, key, method, identifier, timeout))

    async def import_wrapped(
        self,
        parameters: ImportParameters | str,
        wrapped_material: bytes,
        *,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> KeyVersion:
        """As Client.import_wrapped."""
        name = parameters if isinstance(parameters, str) else parameters.name
        identifier = new_request_id(request_id)
        return await self._run(transport.import_wrapped(self._rules, name, wrapped_material, identifier, timeout))

    async def import_version(
        self,
        key: str | Key,
        material: bytes,
        method: Method = Method.MLKEM768_AES_KWP,
        *,
        timeout: float | None = None,
    ) -> KeyVersion:
        """As Client.import_version."""
        ids = (new_request_id(None), new_request_id(None))
        return await self._run(transport.import_version(self._rules, key, material, method, ids, timeout))

    async def import_private_key(
        self,
        key: str | Key,
        private_key: bytes,
        passphrase: bytes | None = None,
        method: Method = Method.MLKEM768_AES_KWP,
        *,
        timeout: float | None = None,
    ) -> KeyVersion:
        """As Client.import_private_key."""
        material = to_pkcs8(private_key, passphrase)
        return await self.import_version(key, material, method, timeout=timeout)

    async def export_wrapped(
        self,
        key: str | Key | KeyVersion,
        version: int | None = None,
        *,
        method: Method,
        public_key: bytes,
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> bytes:
        """As Client.export_wrapped."""
        flow = transport.export_wrapped(self._rules, key, version, method, public_key, consistency, timeout)
        return (await self._run(flow)).wrapped_material

    async def export_version(
        self,
        key: str | Key | KeyVersion,
        version: int | None = None,
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> ExportedMaterial:
        """As Client.export_version."""
        return await self._run(transport.export_version(self._rules, key, version, consistency, timeout))
