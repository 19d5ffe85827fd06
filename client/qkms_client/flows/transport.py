"""Material brought in and out: always wrapped before it leaves the side that holds it."""

from qkms.v1 import key_pb2 as pb
from qkms.wrapping import Method, WrappingPrivateKey, wrap
from qkms_client import decode, methods
from qkms_client.call import Rules, call
from qkms_client.consistency import Consistency
from qkms_client.flow import Flow
from qkms_client.names import key_name, version_name
from qkms_client.secret import ExportedMaterial
from qkms_client.types import Grade, ImportParameters, Key, KeyVersion


def get_import_parameters(
    rules: Rules, key: str | Key, method: Method, request_id: str, timeout: float | None
) -> Flow[ImportParameters]:
    """GetImportParameters."""
    request = pb.GetImportParametersRequest(
        request_id=request_id,
        name=key_name(key),
        method=int(method),  # type: ignore[arg-type]
    )
    response = yield from call(rules, methods.GET_IMPORT_PARAMETERS, request, timeout=timeout)
    return decode.import_parameters(response.parameters, decode.header(response.header), response.replayed)


def import_wrapped(
    rules: Rules, name: str, wrapped_material: bytes, request_id: str, timeout: float | None
) -> Flow[KeyVersion]:
    """ImportVersion. `name` is that of the import parameters."""
    request = pb.ImportVersionRequest(request_id=request_id, name=name, wrapped_material=wrapped_material)
    response = yield from call(rules, methods.IMPORT_VERSION, request, timeout=timeout)
    return decode.version(response.version, decode.header(response.header), response.replayed)


def import_version(
    rules: Rules, key: str | Key, material: bytes, method: Method, ids: tuple[str, str], timeout: float | None
) -> Flow[KeyVersion]:
    """GetImportParameters, wrapping, ImportVersion. `ids` are the request ids of the two calls."""
    parameters = yield from get_import_parameters(rules, key, method, ids[0], timeout)
    wrapped = wrap(method, parameters.public_key, material, parameters.name)
    return (yield from import_wrapped(rules, parameters.name, wrapped, ids[1], timeout))


def export_wrapped(
    rules: Rules,
    key: str | Key | KeyVersion,
    version: int | None,
    method: Method,
    public_key: bytes,
    consistency: Consistency | None,
    timeout: float | None,
) -> Flow[pb.ExportVersionResponse]:
    """ExportVersion, to a public key of the caller's choice."""
    request = pb.ExportVersionRequest(
        name=version_name(key, version),
        method=int(method),  # type: ignore[arg-type]
        public_key=public_key,
    )
    return (yield from call(rules, methods.EXPORT_VERSION, request, consistency=consistency, timeout=timeout))


def export_version(
    rules: Rules,
    key: str | Key | KeyVersion,
    version: int | None,
    consistency: Consistency | None,
    timeout: float | None,
) -> Flow[ExportedMaterial]:
    """ExportVersion to a fresh ML-KEM-768 key of this process, and unwrapping."""
    private = WrappingPrivateKey.generate(Method.MLKEM768_AES_KWP)
    response = yield from export_wrapped(rules, key, version, private.method, private.public, consistency, timeout)
    material = private.unwrap(response.wrapped_material, version_name(key, version))
    return ExportedMaterial(material, response.version, Grade(response.grade), decode.header(response.header))
