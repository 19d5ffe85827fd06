"""Keys and versions: creation, reading, rotation, states."""

from collections.abc import Collection, Mapping
from datetime import timedelta

from qkms.v1 import key_pb2 as pb
from qkms_client import decode, methods
from qkms_client.call import Rules, call
from qkms_client.consistency import Consistency, duration
from qkms_client.errors import OutcomeUnknown, VersionConflict
from qkms_client.flow import Flow, Pause
from qkms_client.names import key_name, version_name
from qkms_client.types import Algorithm, Grade, Key, KeyState, KeyVersion, Rotation, VersionState


def create_key(
    rules: Rules,
    key_id: str,
    request_id: str,
    algorithm: Algorithm | str,
    required_grade: Grade | None,
    max_staleness: timedelta | None,
    labels: Mapping[str, str] | None,
    timeout: float | None,
    further: pb.CreateKeyRequest | None = None,
) -> Flow[Key]:
    """CreateKey. `further` are fields from `further_settings`."""
    request = pb.CreateKeyRequest(
        request_id=request_id,
        key_id=key_id.removeprefix("keys/"),
        algorithm=pb.KeyAlgorithm.Value(Algorithm(algorithm)),
        labels=labels,
        max_staleness=None if max_staleness is None else duration(max_staleness),
    )
    request.required_grade = (required_grade or Grade.UNSPECIFIED).value  # type: ignore[assignment]
    if further is not None:
        request.MergeFrom(further)
    response = yield from call(rules, methods.CREATE_KEY, request, timeout=timeout)
    rules.token.saw(response.key.revision)
    return decode.key(response.key, decode.header(response.header), response.replayed)


def further_settings(
    rotation_period: timedelta | None,
    exportable: bool,
    deletion_protection: bool,
    allow_compromised_decrypt: bool,
    skip_initial_version: bool,
    prefer_qkd: bool,
    refuse_relays: bool,
    max_qber: float,
) -> pb.CreateKeyRequest:
    """The settings of a new key that few need."""
    return pb.CreateKeyRequest(
        rotation_period=None if rotation_period is None else duration(rotation_period),
        exportable=exportable,
        deletion_protection=deletion_protection,
        allow_compromised_decrypt=allow_compromised_decrypt,
        skip_initial_version=skip_initial_version,
        prefer_qkd=prefer_qkd,
        refuse_relays=refuse_relays,
        max_qber=max_qber,
    )


def get_key(rules: Rules, key: str | Key, consistency: Consistency | None, timeout: float | None) -> Flow[Key]:
    """GetKey."""
    request = pb.GetKeyRequest(name=key_name(key))
    response = yield from call(rules, methods.GET_KEY, request, consistency=consistency, timeout=timeout)
    return decode.key(response.key, decode.header(response.header))


def key_filter(
    labels: Mapping[str, str] | None, algorithm: str | None, prefix: str, state: KeyState | None
) -> pb.KeyFilter:
    """The filter of a listing. Raises ValueError for an algorithm that the protocol does not name."""
    wanted = pb.KeyFilter(labels=labels, key_id_prefix=prefix)
    if algorithm:
        wanted.algorithm = pb.KeyAlgorithm.Value(algorithm)
    wanted.state = (state or KeyState.UNSPECIFIED).value  # type: ignore[assignment]
    return wanted


def key_page(
    rules: Rules,
    page_token: str,
    page_size: int,
    consistency: Consistency | None,
    timeout: float | None,
    passing: pb.KeyFilter | None = None,
) -> Flow[tuple[list[Key], str]]:
    """One page of ListKeys and the token of the next, empty after the last."""
    request = pb.ListKeysRequest(page_token=page_token, page_size=page_size, filter=passing)
    response = yield from call(rules, methods.LIST_KEYS, request, consistency=consistency, timeout=timeout)
    head = decode.header(response.header)
    return [decode.key(k, head) for k in response.keys], response.next_page_token


def list_versions(
    rules: Rules,
    key: str | Key,
    consistency: Consistency | None,
    timeout: float | None,
    states: Collection[VersionState] = (),
) -> Flow[list[KeyVersion]]:
    """All pages of ListVersions, within one deadline."""
    start = (yield Pause(0)).time
    versions: list[KeyVersion] = []
    budget, now, token = rules.timeout if timeout is None else timeout, start, ""
    while True:
        request = pb.ListVersionsRequest(
            parent=key_name(key),
            page_token=token,
            states=[s.value for s in states],  # type: ignore[misc]
        )
        response = yield from call(
            rules,
            methods.LIST_VERSIONS,
            request,
            consistency=consistency,
            timeout=budget - (now - start),
        )
        head = decode.header(response.header)
        versions += [decode.version(v, head) for v in response.versions]
        token = response.next_page_token
        if not token:
            return versions
        now = (yield Pause(0)).time


def rotate_key(
    rules: Rules,
    key: str | Key,
    request_id: str,
    expected_primary_version: int | None,
    timeout: float | None,
) -> Flow[Rotation]:
    """RotateKey. Without an expected version it is read first, and again after a conflict.

    The request_id stays the same over conflicts: a conflict changed nothing, and a
    request that did take effect is answered from memory before any conflict is looked for.
    """
    start = (yield Pause(0)).time
    budget, now = rules.timeout if timeout is None else timeout, start
    while True:
        expected = expected_primary_version
        if expected is None:
            known = yield from get_key(rules, key, None, budget - (now - start))
            expected = known.primary_version
        request = pb.RotateKeyRequest(request_id=request_id, name=key_name(key), expected_primary_version=expected)
        now = (yield Pause(0)).time
        try:
            response = yield from call(rules, methods.ROTATE_KEY, request, timeout=budget - (now - start))
        except OutcomeUnknown as error:
            error.metadata["expected_primary_version"] = str(expected)
            error.message += f" and expected_primary_version {expected}"
            raise
        except VersionConflict:
            now = (yield Pause(0)).time
            if expected_primary_version is not None or now - start >= budget:
                raise
            continue
        rules.token.saw(response.key.revision)
        head = decode.header(response.header)
        return Rotation(
            key=decode.key(response.key, head, response.replayed),
            version=decode.version(response.version, head, response.replayed),
            replayed=response.replayed,
            request_id=request_id,
            header=head,
        )


def disable_version(
    rules: Rules, key: str | Key | KeyVersion, version: int | None, request_id: str, timeout: float | None
) -> Flow[KeyVersion]:
    """DisableVersion."""
    request = pb.DisableVersionRequest(request_id=request_id, name=version_name(key, version))
    response = yield from call(rules, methods.DISABLE_VERSION, request, timeout=timeout)
    return decode.version(response.version, decode.header(response.header), response.replayed)


def enable_version(
    rules: Rules, key: str | Key | KeyVersion, version: int | None, request_id: str, timeout: float | None
) -> Flow[KeyVersion]:
    """EnableVersion."""
    request = pb.EnableVersionRequest(request_id=request_id, name=version_name(key, version))
    response = yield from call(rules, methods.ENABLE_VERSION, request, timeout=timeout)
    return decode.version(response.version, decode.header(response.header), response.replayed)


def destroy_version(
    rules: Rules,
    key: str | Key | KeyVersion,
    version: int | None,
    grace: timedelta | None,
    request_id: str,
    timeout: float | None,
) -> Flow[KeyVersion]:
    """DestroyVersion."""
    request = pb.DestroyVersionRequest(
        request_id=request_id,
        name=version_name(key, version),
        grace=None if grace is None else duration(grace),
    )
    response = yield from call(rules, methods.DESTROY_VERSION, request, timeout=timeout)
    return decode.version(response.version, decode.header(response.header), response.replayed)


def restore_version(
    rules: Rules, key: str | Key | KeyVersion, version: int | None, request_id: str, timeout: float | None
) -> Flow[KeyVersion]:
    """RestoreVersion."""
    request = pb.RestoreVersionRequest(request_id=request_id, name=version_name(key, version))
    response = yield from call(rules, methods.RESTORE_VERSION, request, timeout=timeout)
    return decode.version(response.version, decode.header(response.header), response.replayed)
