"""KeyService: keys, versions, rotation, watch."""

from collections.abc import AsyncIterator, Collection, Mapping
from datetime import timedelta
from uuid import UUID

from qkms_client.aio.runner import AsyncRunner
from qkms_client.aio.watch import AsyncKeyWatch
from qkms_client.base import new_request_id
from qkms_client.consistency import Consistency
from qkms_client.flows import keys as flows
from qkms_client.flows.watch import WatchState
from qkms_client.names import key_name
from qkms_client.types import Algorithm, Grade, Key, KeyState, KeyVersion, Rotation, VersionState


class AsyncKeyCalls(AsyncRunner):
    """Keys are named `payments` or `keys/payments`, or by a Key.

    Every method raises QkmsError of the reason's class; `timeout` is in seconds, all
    attempts together. A mutation's `request_id` is made here unless given: give the one
    of an OutcomeUnknown, with the same arguments, to repeat a call.
    """

    async def create_key(
        self,
        key_id: str,
        *,
        algorithm: Algorithm | str = Algorithm.AES_256_GCM,
        required_grade: Grade | None = None,
        max_staleness: timedelta | None = None,
        labels: Mapping[str, str] | None = None,
        rotation_period: timedelta | None = None,
        exportable: bool = False,
        deletion_protection: bool = False,
        allow_compromised_decrypt: bool = False,
        skip_initial_version: bool = False,
        prefer_qkd: bool = False,
        refuse_relays: bool = False,
        max_qber: float = 0.0,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> Key:
        """As Client.create_key."""
        identifier = new_request_id(request_id)
        further = flows.further_settings(
            rotation_period,
            exportable,
            deletion_protection,
            allow_compromised_decrypt,
            skip_initial_version,
            prefer_qkd,
            refuse_relays,
            max_qber,
        )
        return await self._run(
            flows.create_key(
                self._rules, key_id, identifier, algorithm, required_grade, max_staleness, labels, timeout, further
            )
        )

    async def get_key(
        self, key: str | Key, *, consistency: Consistency | None = None, timeout: float | None = None
    ) -> Key:
        """As Client.get_key."""
        return await self._run(flows.get_key(self._rules, key, consistency, timeout))

    async def list_keys(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        algorithm: str | None = None,
        prefix: str = "",
        state: KeyState | None = None,
        page_size: int = 100,
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[Key]:
        """As Client.list_keys."""
        passing = flows.key_filter(labels, algorithm, prefix, state)
        token = ""
        while True:
            keys, token = await self._run(
                flows.key_page(self._rules, token, page_size, consistency, timeout, passing)
            )
            for key in keys:
                yield key
            if not token:
                return

    async def list_versions(
        self,
        key: str | Key,
        *,
        states: Collection[VersionState] = (),
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> list[KeyVersion]:
        """As Client.list_versions."""
        return await self._run(flows.list_versions(self._rules, key, consistency, timeout, states))

    async def rotate_key(
        self,
        key: str | Key,
        *,
        expected_primary_version: int | None = None,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> Rotation:
        """As Client.rotate_key."""
        return await self._run(
            flows.rotate_key(self._rules, key, new_request_id(request_id), expected_primary_version, timeout)
        )

    async def disable_version(
        self,
        key: str | Key | KeyVersion,
        version: int | None = None,
        *,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> KeyVersion:
        """As Client.disable_version."""
        identifier = new_request_id(request_id)
        return await self._run(flows.disable_version(self._rules, key, version, identifier, timeout))

    async def enable_version(
        self,
        key: str | Key | KeyVersion,
        version: int | None = None,
        *,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> KeyVersion:
        """As Client.enable_version."""
        identifier = new_request_id(request_id)
        return await self._run(flows.enable_version(self._rules, key, version, identifier, timeout))

    async def destroy_version(
        self,
        key: str | Key | KeyVersion,
        version: int | None = None,
        *,
        grace: timedelta | None = None,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> KeyVersion:
        """As Client.destroy_version."""
        identifier = new_request_id(request_id)
        return await self._run(flows.destroy_version(self._rules, key, version, grace, identifier, timeout))

    async def restore_version(
        self,
        key: str | Key | KeyVersion,
        version: int | None = None,
        *,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> KeyVersion:
        """As Client.restore_version."""
        identifier = new_request_id(request_id)
        return await self._run(flows.restore_version(self._rules, key, version, identifier, timeout))

    def watch_keys(
        self,
        key: str | Key | None = None,
        *,
        resume_token: str | None = None,
        give_up_after: float | None = 60.0,
    ) -> AsyncKeyWatch:
        """As Client.watch_keys."""
        name = "" if key is None else key_name(key)
        return AsyncKeyWatch(self, WatchState(self._rules, name, resume_token, give_up_after))
