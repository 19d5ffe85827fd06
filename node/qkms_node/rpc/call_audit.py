"""From a call to its audit record: who, which method, about what, decided how, answered with which code.

Names of resources are taken from the request where they look like names, ids
where they are ids; nothing else of a request or an answer is recorded.
"""

import re
from collections.abc import Callable
from typing import Any

from qkms_node.access.call_log import CallLog
from qkms_node.access.call_record import call_record
from qkms_node.access.trail import Trail
from qkms_node.errors import QkmsError

# An operator must be able to see that the audit cannot be written.
ALWAYS_SERVED = frozenset({"ClusterService/GetStatus"})

# A mutation that ends so may have taken effect: a missing record must not make it look refused.
MAY_HAVE_AN_EFFECT = frozenset({"OK", "OUTCOME_UNKNOWN", "INTERNAL"})

_NAMED = ("name", "parent", "key")
_IDS = (
    ("key_id", "keys"),
    ("session_id", "sessions"),
    ("policy_id", "policies"),
    ("role_id", "roles"),
    ("tenant_id", "tenants"),
    ("grant_id", "grants"),
    ("node_id", "nodes"),
)
_NAME = re.compile(r"[A-Za-z]{1,32}/[A-Za-z0-9._/-]{1,160}")
_ID = re.compile(r"[A-Za-z0-9._-]{1,80}")


class CallAudit:
    """Writes the records of calls."""

    def __init__(self, log: CallLog, now_ms: Callable[[], int]) -> None:
        self._log = log
        self._now_ms = now_ms

    def admit(self, method: str) -> None:
        """Raises QkmsError AUDIT_UNAVAILABLE when the call would be refused its record."""
        if method not in ALWAYS_SERVED:
            self._log.require()

    async def answered(self, method: str, principal: str, request: Any, trail: Trail, code: str) -> None:
        """Returns when the record is durable: then the answer may leave.

        Raises QkmsError AUDIT_UNAVAILABLE, or OUTCOME_UNKNOWN for a mutation that may have taken effect.
        """
        fields = self._fields(method, principal, request, trail, code)
        if method in ALWAYS_SERVED:
            self._log.leave(fields)
            return
        try:
            await self._log.record(fields)
        except QkmsError as error:
            if code in MAY_HAVE_AN_EFFECT and str(getattr(request, "request_id", "")):
                raise QkmsError(
                    "OUTCOME_UNKNOWN",
                    f"the call may have taken effect and was not audited ({error.message}); "
                    "repeat it with the same request_id to learn the outcome",
                    retry_after_s=error.retry_after_s,
                ) from error
            raise

    def ended(self, method: str, principal: str, request: Any, trail: Trail, code: str) -> None:
        """Leaves the record of a call that nobody waits for any more."""
        self._log.leave(self._fields(method, principal, request, trail, code))

    def _fields(self, method: str, principal: str, request: Any, trail: Trail, code: str) -> dict[str, Any]:
        return call_record(
            self._now_ms(),
            principal,
            method,
            resource_of(request),
            _matching(_ID, getattr(request, "request_id", "")),
            trail,
            code,
        )


def resource_of(request: Any) -> str:
    """The name of what a request is about; empty when it has none, or not one that could be a name."""
    for field in _NAMED:
        name = _matching(_NAME, getattr(request, field, ""))
        if name:
            return name
    for field, collection in _IDS:
        identifier = _matching(_ID, getattr(request, field, ""))
        if identifier:
            return f"{collection}/{identifier}"
    return ""


def _matching(shape: re.Pattern[str], value: object) -> str:
    return value if isinstance(value, str) and shape.fullmatch(value) else ""
