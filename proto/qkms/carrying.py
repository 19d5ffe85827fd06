"""Which calls Batch and Stream carry: every unary method of CryptoService but Batch, from its descriptor.

A method is carried by the field of CryptoCall that has its request's type, and
answered in the field of CryptoAnswer that has its response's. A method without
such a field is not carried; a test over the descriptor finds it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qkms.v1 import crypto_pb2 as pb

SERVICE = "qkms.v1.CryptoService"
STATUS_FIELD = "status"

MAX_BATCH_CALLS = 256
MAX_BATCH_BYTES = 480 * 1024
"""Of calls in one BatchRequest, so that the message stays under a node's limit of 512 KiB."""


@dataclass(frozen=True)
class Carried:
    """One method: its name, its path on the wire, its message classes, and its fields in a call and an answer."""

    method: str
    path: str
    request: Any
    response: Any
    call_field: str
    answer_field: str

    def call(self, request: Any) -> pb.CryptoCall:
        """The request as a call."""
        return pb.CryptoCall(**{self.call_field: request})

    def answer(self, response: Any) -> pb.CryptoAnswer:
        """The response as an answer."""
        return pb.CryptoAnswer(**{self.answer_field: response})


def _table() -> Mapping[str, Carried]:
    files: Any = pb.DESCRIPTOR
    service = files.services_by_name["CryptoService"]
    calls = {f.message_type.full_name: f.name for f in files.message_types_by_name["CryptoCall"].fields}
    answers = {f.message_type.full_name: f.name for f in files.message_types_by_name["CryptoAnswer"].fields}
    return {
        calls[method.input_type.full_name]: Carried(
            method.name,
            f"/{SERVICE}/{method.name}",
            getattr(pb, method.input_type.name),
            getattr(pb, method.output_type.name),
            calls[method.input_type.full_name],
            answers[method.output_type.full_name],
        )
        for method in service.methods
        if method.input_type.full_name in calls
    }


BY_FIELD: Mapping[str, Carried] = _table()
"""The carried methods by their field in CryptoCall."""

BY_PATH: Mapping[str, Carried] = {carried.path: carried for carried in BY_FIELD.values()}
"""The carried methods by their path, `/qkms.v1.CryptoService/{method}`."""
