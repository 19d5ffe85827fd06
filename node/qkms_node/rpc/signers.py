"""The other nodes as signers: this node as their client, for a certificate of its own or of a new node.

Each member is asked in turn, the connected ones first, until one signs or
refuses for good. Connections are made for the call with the PEM files of that
moment: it is made once in weeks, often just before or after a renewal.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from qkms.v1 import enrol_pb2 as pb
from qkms.v1 import enrol_pb2_grpc
from qkms_node import tls_files
from qkms_node.config import Config
from qkms_node.consensus.replica import Replica
from qkms_node.errors import QkmsError
from qkms_node.rpc.errors import DETAILS_KEY
from qkms_node.service.enrolment import Application
from qkms_node.service.members import Members
from qkms_node.service.store import LedgerStore

log = structlog.get_logger(__name__)

CALL_TIMEOUT_S = 5.0
RETRY_AFTER_S = 1.0

# What another node may do better.
_ASK_ON = frozenset({"CA_NOT_HERE", "NO_QUORUM", "NOT_COMMITTED", "OUTCOME_UNKNOWN", "SHUTTING_DOWN", "INTERNAL"})

R = TypeVar("R")


class NodeSigners:
    """Asks the other members over mutual TLS."""

    def __init__(self, config: Config, members: Members, replica: Replica, store: LedgerStore) -> None:
        self._tls = config.tls
        self._members = members
        self._replica = replica
        self._store = store

    async def enrol(self, application: Application) -> bytes:
        """See service.enrolment.Signers."""
        request = pb.EnrolRequest(
            request_id=application.request_id,
            node_id=application.node_id,
            token=application.token,
            csr=application.csr,
        )
        response = await self._ask(lambda stub: stub.Enrol(request, timeout=CALL_TIMEOUT_S))
        return bytes(response.certificate)

    async def renew(self, csr: bytes) -> bytes:
        """See service.enrolment.Signers."""
        request = pb.RenewCertificateRequest(csr=csr)
        response = await self._ask(lambda stub: stub.RenewCertificate(request, timeout=CALL_TIMEOUT_S))
        return bytes(response.certificate)

    async def _ask(self, call: Callable[[Any], Awaitable[R]]) -> R:
        with self._store.view() as state:
            peers = self._members.peers(state)
        connected = self._replica.status().connected
        answers: list[str] = []
        for peer in sorted(peers, key=lambda peer: (peer not in connected, peer)):
            try:
                async with grpc.aio.secure_channel(peers[peer].rpc_address, self._credentials()) as channel:
                    return await call(enrol_pb2_grpc.EnrolServiceStub(channel))
            except grpc.aio.AioRpcError as error:
                refusal = _refusal(error)
                if refusal is not None and refusal.code not in _ASK_ON:
                    raise refusal from None
                answers.append(f"{peer}: {refusal.message if refusal else error.details() or error.code().name}")
        raise QkmsError(
            "CA_UNAVAILABLE",
            f"no node signed the certificate ({'; '.join(answers) or 'there is no other'}); "
            "a node with a [ca] section has to run",
            retry_after_s=RETRY_AFTER_S,
        )

    def _credentials(self) -> grpc.ChannelCredentials:
        try:
            pem = tls_files.read(self._tls)
        except tls_files.TlsFilesInvalid as problem:
            raise QkmsError("CA_UNAVAILABLE", str(problem)) from None
        return grpc.ssl_channel_credentials(pem.ca, pem.private_key, pem.certificate)


def _refusal(error: grpc.aio.AioRpcError) -> QkmsError | None:
    """What a node's service answered; None for a failure of the connection."""
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                status = status_pb2.Status.FromString(value)
            except DecodeError:
                return None
            info = error_details_pb2.ErrorInfo()
            for detail in status.details:
                if detail.Unpack(info):
                    return QkmsError(info.reason, status.message, None, **info.metadata)
    return None
