"""The audit record of a call, by whichever face it came: who, which method, about what, and how it ended."""

from typing import Any

from qkms_node.access.trail import Trail


def call_record(
    time_ms: int, principal: str, method: str, resource: str, request_id: str, trail: Trail, code: str
) -> dict[str, Any]:
    """The fields of the record; nothing else of a request or an answer is recorded."""
    fields: dict[str, Any] = {
        "time_ms": time_ms,
        "principal": principal,
        "method": method,
        "resource": resource,
        "request_id": request_id,
        "code": code,
        "decisions": [[d.action, d.key_id, d.allowed, d.rule] for d in trail.decisions],
    }
    if trail.context_keys:
        fields["context_keys"] = sorted(trail.context_keys)
    return fields
