"""The life of keys and versions beyond rotation: settings, staging, compromise, deletion."""

from collections.abc import Mapping
from datetime import timedelta

from google.protobuf.field_mask_pb2 import FieldMask

from qkms.v1 import key_pb2 as pb
from qkms_client import decode, methods
from qkms_client.call import Rules, call
from qkms_client.consistency import duration
from qkms_client.flow import Flow
from qkms_client.flows.keys import get_key
from qkms_client.names import key_name, version_name
from qkms_client.types import Activation, Grade, Key, KeyVersion


def key_update(
    key: str | Key,
    etag: str,
    labels: Mapping[str, str] | None,
    required_grade: Grade | None,
    max_staleness: timedelta | None,
    rotation_period: timedelta | None,
    min_decrypt_version: int | None,
    min_encrypt_version: int | None,
    deletion_protection: bool | None,
    allow_compromised_decrypt: bool | None,
    prefer_qkd: bool | None,
    refuse_relays: bool | None,
    max_qber: float | None,
) -> pb.UpdateKeyRequest:
    """The request that sets what is given. A rotation period of 0 means none. Raises ValueError for nothing."""
    wanted = pb.Key(name=key_name(key), etag=etag)
    paths: list[str] = []
    if labels is not None:
        wanted.labels.update(labels)
        paths.append("labels")
    if required_grade is not None:
        wanted.required_grade = required_grade.value  # type: ignore[assignment]
        paths.append("required_grade")
    if max_staleness is not None:
        wanted.max_staleness.CopyFrom(duration(max_staleness))
        paths.append("max_staleness")
    if rotation_period is not None:
        if rotation_period:
            wanted.rotation_period.CopyFrom(duration(rotation_period))
        paths.append("rotation_period")
    plain = {
        "min_decrypt_version": min_decrypt_version,
        "min_encrypt_version": min_encrypt_version,
        "deletion_protection": deletion_protection,
        "allow_compromised_decrypt": allow_compromised_decrypt,
        "prefer_qkd": prefer_qkd,
        "refuse_relays": refuse_relays,
        "max_qber": max_qber,
    }
    for path, value in plain.items():
        if value is not None:
            setattr(wanted, path, value)
            paths.append(path)
    if not paths:
        raise ValueError(f"what is to change of {key_name(key)}? pass at least one setting")
    return pb.UpdateKeyRequest(key=wanted, update_mask=FieldMask(paths=paths))


def update_key(rules: Rules, request: pb.UpdateKeyRequest, request_id: str, timeout: float | None) -> Flow[Key]:
    """UpdateKey."""
    request.request_id = request_id
    response = yield from call(rules, methods.UPDATE_KEY, request, timeout=timeout)
    rules.token.saw(response.key.revision)
    return decode.key(response.key, decode.header(response.header), response.replayed)


def disable_key(rules: Rules, key: str | Key, request_id: str, timeout: float | None) -> Flow[Key]:
    """DisableKey."""
    request = pb.DisableKeyRequest(request_id=request_id, name=key_name(key))
    response = yield from call(rules, methods.DISABLE_KEY, request, timeout=timeout)
    return decode.key(response.key, decode.header(response.header), response.replayed)


def enable_key(rules: Rules, key: str | Key, request_id: str, timeout: float | None) -> Flow[Key]:
    """EnableKey."""
    request = pb.EnableKeyRequest(request_id=request_id, name=key_name(key))
    response = yield from call(rules, methods.ENABLE_KEY, request, timeout=timeout)
    return decode.key(response.key, decode.header(response.header), response.replayed)


def delete_key(rules: Rules, key: str | Key, etag: str, request_id: str, timeout: float | None) -> Flow[Key]:
    """DeleteKey."""
    request = pb.DeleteKeyRequest(request_id=request_id, name=key_name(key), etag=etag)
    response = yield from call(rules, methods.DELETE_KEY, request, timeout=timeout)
    return decode.key(response.key, decode.header(response.header), response.replayed)


def stage_version(rules: Rules, key: str | Key, request_id: str, timeout: float | None) -> Flow[KeyVersion]:
    """StageVersion."""
    request = pb.StageVersionRequest(request_id=request_id, name=key_name(key))
    response = yield from call(rules, methods.STAGE_VERSION, request, timeout=timeout)
    return decode.version(response.version, decode.header(response.header), response.replayed)


def validate_version(
    rules: Rules, key: str | Key | KeyVersion, version: int | None, request_id: str, timeout: float | None
) -> Flow[KeyVersion]:
    """ValidateVersion."""
    request = pb.ValidateVersionRequest(request_id=request_id, name=version_name(key, version))
    response = yield from call(rules, methods.VALIDATE_VERSION, request, timeout=timeout)
    return decode.version(response.version, decode.header(response.header), response.replayed)


def activate_version(
    rules: Rules,
    key: str | Key | KeyVersion,
    version: int | None,
    expected_primary_version: int | None,
    request_id: str,
    timeout: float | None,
) -> Flow[Activation]:
    """ActivateVersion. Without an expected version it is read first."""
    name = version_name(key, version)
    expected = expected_primary_version
    if expected is None:
        known = yield from get_key(rules, name.partition("/versions/")[0], None, timeout)
        expected = known.primary_version
    request = pb.ActivateVersionRequest(request_id=request_id, name=name, expected_primary_version=expected)
    response = yield from call(rules, methods.ACTIVATE_VERSION, request, timeout=timeout)
    rules.token.saw(response.key.revision)
    head = decode.header(response.header)
    return Activation(
        key=decode.key(response.key, head, response.replayed),
        version=decode.version(response.version, head, response.replayed),
        replayed=response.replayed,
        already_active=response.already_active,
        request_id=request_id,
        header=head,
    )


def abort_version(
    rules: Rules,
    key: str | Key | KeyVersion,
    version: int | None,
    reason: str,
    request_id: str,
    timeout: float | None,
) -> Flow[KeyVersion]:
    """AbortVersion."""
    request = pb.AbortVersionRequest(request_id=request_id, name=version_name(key, version), reason=reason)
    response = yield from call(rules, methods.ABORT_VERSION, request, timeout=timeout)
    return decode.version(response.version, decode.header(response.header), response.replayed)


def compromise_version(
    rules: Rules,
    key: str | Key | KeyVersion,
    version: int | None,
    reason: str,
    request_id: str,
    timeout: float | None,
) -> Flow[KeyVersion]:
    """CompromiseVersion."""
    request = pb.CompromiseVersionRequest(request_id=request_id, name=version_name(key, version), reason=reason)
    response = yield from call(rules, methods.COMPROMISE_VERSION, request, timeout=timeout)
    return decode.version(response.version, decode.header(response.header), response.replayed)
