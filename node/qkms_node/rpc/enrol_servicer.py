"""EnrolService: messages to use cases and back, nothing else.

The same servicer stands behind the enrolment listener, whose callers have no
certificate, and behind the main one, where nodes pass requests on and renew.
"""

from typing import Any

import grpc.aio

from qkms.v1 import enrol_pb2 as pb
from qkms.v1 import enrol_pb2_grpc
from qkms_node.csr import node_uri
from qkms_node.errors import QkmsError
from qkms_node.rpc import fields
from qkms_node.rpc.header import Headers, mutation_request
from qkms_node.rpc.interceptor import ANONYMOUS, caller
from qkms_node.service.enrolment import Application, Enrolment
from qkms_node.service.freshness import STALE_OK

Context = grpc.aio.ServicerContext[Any, Any]


class EnrolServicer(enrol_pb2_grpc.EnrolServiceServicer):
    """Serves qkms.v1.EnrolService."""

    def __init__(self, enrolment: Enrolment, headers: Headers, trust_domain: str) -> None:
        self._enrolment = enrolment
        self._headers = headers
        self._nodes = node_uri(trust_domain, "")

    async def Enrol(self, request: pb.EnrolRequest, context: Context) -> pb.EnrolResponse:
        node_id = fields.node_id("node_id", request.node_id)
        # Passed on or not, it is the same request: of whoever holds the token.
        identity = mutation_request(request, request.request_id, f"join:{node_id}")
        application = Application(
            identity.request_id, node_id, fields.sized("token", request.token, 32), request.csr
        )
        # One that a node passed on is not passed on again.
        pass_on = not caller.get().startswith(self._nodes)
        certificate, replayed = await self._enrolment.enrol(identity, application, pass_on=pass_on)
        return pb.EnrolResponse(
            header=self._headers.make(),
            certificate=certificate,
            ca_certificate=self._enrolment.ca_pem(),
            shared_config=self._enrolment.shared_config(),
            replayed=replayed,
        )

    async def RenewCertificate(
        self, request: pb.RenewCertificateRequest, context: Context
    ) -> pb.RenewCertificateResponse:
        if caller.get() == ANONYMOUS:
            raise QkmsError(
                "PERMISSION_DENIED",
                "a certificate is renewed with the present one, at a listener that asks for it; "
                "a node whose certificate has expired joins again with a token",
            )
        [present] = context.auth_context()["x509_pem_cert"]
        certificate = self._enrolment.renew(caller.get(), present, request.csr)
        return pb.RenewCertificateResponse(
            header=self._headers.make(STALE_OK), certificate=certificate, ca_certificate=self._enrolment.ca_pem()
        )
