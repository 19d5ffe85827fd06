"""KeyService: settings of keys, staged versions, compromise, deletion, import and export."""

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from qkms.wrapping import Method
from qkms_client.base import new_request_id
from qkms_client.consistency import Consistency
from qkms_client.flows import lifecycle as flows
from qkms_client.flows import transport
from qkms_client.private_keys import to_pkcs8
from qkms_client.secret import ExportedMaterial
from qkms_client.sync.runner import Runner
from qkms_client.types import Activation, Grade, ImportParameters, Key, KeyVersion


class LifecycleCalls(Runner):
    """What keys and versions go through; request ids and timeouts as in KeyCalls."""

    def update_key(
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
        """Sets what is given; `labels` replaces all of them, a `rotation_period` of 0 ends rotation, a
        `max_qber` of 0 allows any.

        With the `etag` of a Key, only if it has not changed since. Raises EtagMismatch, GradeTooLow,
        RelaysRefused, QberTooHigh, MinVersionTooHigh, InvalidField; ValueError when nothing is given.
        """
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
        return self._run(flows.update_key(self._rules, request, new_request_id(request_id), timeout))

    def disable_key(
        self, key: str | Key, *, request_id: str | UUID | None = None, timeout: float | None = None
    ) -> Key:
        """Stops every use of a key until it is enabled."""
        return self._run(flows.disable_key(self._rules, key, new_request_id(request_id), timeout))

    def enable_key(
        self, key: str | Key, *, request_id: str | UUID | None = None, timeout: float | None = None
    ) -> Key:
        """Lets a disabled key be used again."""
        return self._run(flows.enable_key(self._rules, key, new_request_id(request_id), timeout))

    def delete_key(
        self,
        key: str | Key,
        *,
        etag: str = "",
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> Key:
        """Deletes a key whose versions are all destroyed; gives its tombstone. The name is never used again.

        Raises KeyHasVersions, DeletionProtected, EtagMismatch.
        """
        return self._run(flows.delete_key(self._rules, key, etag, new_request_id(request_id), timeout))

    def stage_version(
        self, key: str | Key, *, request_id: str | UUID | None = None, timeout: float | None = None
    ) -> KeyVersion:
        """Makes a version that waits for activation and is not used before. Raises RotationPending."""
        return self._run(flows.stage_version(self._rules, key, new_request_id(request_id), timeout))

    def validate_version(
        self,
        key: str | Key | KeyVersion,
        version: int | None = None,
        *,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> KeyVersion:
        """Declares a staged version valid, once a quorum of nodes has opened it: see `staging` of the result.

        Raises VersionNotValidated after a few seconds without that, IllegalTransition.
        """
        identifier = new_request_id(request_id)
        return self._run(flows.validate_version(self._rules, key, version, identifier, timeout))

    def activate_version(
        self,
        key: str | Key | KeyVersion,
        version: int | None = None,
        *,
        expected_primary_version: int | None = None,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> Activation:
        """Makes a validated version the primary one; the one before still decrypts.

        Without `expected_primary_version` it is read first. Raises VersionConflict, VersionNotValidated,
        ActivationTooEarly until the key's max_staleness has passed since the staging.
        """
        identifier = new_request_id(request_id)
        return self._run(
            flows.activate_version(self._rules, key, version, expected_primary_version, identifier, timeout)
        )

    def abort_version(
        self,
        key: str | Key | KeyVersion,
        version: int | None = None,
        *,
        reason: str = "",
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> KeyVersion:
        """Gives a staged version up: it is destroyed at once, its number never used again."""
        identifier = new_request_id(request_id)
        return self._run(flows.abort_version(self._rules, key, version, reason, identifier, timeout))

    def compromise_version(
        self,
        key: str | Key | KeyVersion,
        version: int | None = None,
        *,
        reason: str = "",
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> KeyVersion:
        """Marks a version as compromised for good: it never protects again, and decrypts only where the
        key has allow_compromised_decrypt. Rotate the key if it was the primary one."""
        identifier = new_request_id(request_id)
        return self._run(flows.compromise_version(self._rules, key, version, reason, identifier, timeout))

    def get_import_parameters(
        self,
        key: str | Key,
        method: Method = Method.MLKEM768_AES_KWP,
        *,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> ImportParameters:
        """A one-time public key to wrap material under (`qkms.wrapping.wrap`); replaces the one before."""
        identifier = new_request_id(request_id)
        return self._run(transport.get_import_parameters(self._rules, key, method, identifier, timeout))

    def import_wrapped(
        self,
        parameters: ImportParameters | str,
        wrapped_material: bytes,
        *,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> KeyVersion:
        """Stages material that was wrapped under import parameters, or those of this name.

        Raises ImportNotFound, WrappingRejected, MaterialRejected, RotationPending, GradeTooLow,
        RelaysRefused, QberTooHigh.
        """
        name = parameters if isinstance(parameters, str) else parameters.name
        identifier = new_request_id(request_id)
        return self._run(transport.import_wrapped(self._rules, name, wrapped_material, identifier, timeout))

    def import_version(
        self,
        key: str | Key,
        material: bytes,
        method: Method = Method.MLKEM768_AES_KWP,
        *,
        timeout: float | None = None,
    ) -> KeyVersion:
        """Wraps material here and stages it: a key's bytes, or a private key as PKCS #8 in DER.

        To repeat after an unknown outcome with one effect, use the two steps: get_import_parameters,
        import_wrapped. Raises as import_wrapped.
        """
        ids = (new_request_id(None), new_request_id(None))
        return self._run(transport.import_version(self._rules, key, material, method, ids, timeout))

    def import_private_key(
        self,
        key: str | Key,
        private_key: bytes,
        passphrase: bytes | None = None,
        method: Method = Method.MLKEM768_AES_KWP,
        *,
        timeout: float | None = None,
    ) -> KeyVersion:
        """import_version of the content of a PEM or DER file (`qkms_client.private_keys`), encrypted or not.

        Raises PrivateKeyInvalid with nothing sent; else as import_wrapped.
        """
        material = to_pkcs8(private_key, passphrase)
        return self.import_version(key, material, method, timeout=timeout)

    def export_wrapped(
        self,
        key: str | Key | KeyVersion,
        version: int | None = None,
        *,
        method: Method,
        public_key: bytes,
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> bytes:
        """The material of a version, wrapped to a public key, for its holder to unwrap.

        The purpose of the wrapping is the version's name. Raises NotExportable, WrappingRejected.
        """
        flow = transport.export_wrapped(self._rules, key, version, method, public_key, consistency, timeout)
        return self._run(flow).wrapped_material

    def export_version(
        self,
        key: str | Key | KeyVersion,
        version: int | None = None,
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,
    ) -> ExportedMaterial:
        """The material of a version of an exportable key; wrapped until it is here. Raises NotExportable."""
        return self._run(transport.export_version(self._rules, key, version, consistency, timeout))
