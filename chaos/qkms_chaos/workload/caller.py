"""One client of a load as the history knows it: its calls, written down with what was answered."""

import time
from collections.abc import Awaitable, Callable

from qkms_chaos.checking.history import Op, Outcome, Recorder, Value
from qkms_client import QkmsError
from qkms_client.errors import OutcomeUnknown
from qkms_client.types import Header, KeyVersion

REPEATS = 3

Answer = tuple[dict[str, Value], Header | None]
Call = Callable[[], Awaitable[Answer]]


class Caller:
    """A client by its `name` in the history; `node` is the one it is bound to, if it is to one."""

    def __init__(self, name: str, recorder: Recorder, node: str = "") -> None:
        self.name = name
        self._recorder = recorder
        self._node = node

    async def until_known(self, name: str, key: str, args: dict[str, Value], call: Call) -> Outcome:
        """Repeats what ended unknown, under the same request_id; how it ended at last."""
        for _ in range(REPEATS):
            outcome = await self.done(name, key, args, call)
            if outcome is not Outcome.UNKNOWN:
                return outcome
        return Outcome.UNKNOWN

    async def done(self, name: str, key: str, args: dict[str, Value], call: Call) -> Outcome:
        """Makes the call once; how it ended."""
        start = time.monotonic()
        try:
            answered: Answer | QkmsError = await call()
        except QkmsError as error:
            answered = error
        return self.note(name, key, args, start, answered)

    def note(
        self, name: str, key: str, args: dict[str, Value], start: float, answered: Answer | QkmsError
    ) -> Outcome:
        """Writes down a call that began at `start` and has ended now; how it ended."""
        answer: dict[str, Value] = {}
        outcome, reason, node = Outcome.OK, "", self._node
        if isinstance(answered, QkmsError):
            outcome = Outcome.UNKNOWN if isinstance(answered, OutcomeUnknown) else Outcome.REFUSED
            reason, node = answered.reason, self._node or answered.endpoint or ""
        else:
            answer, header = answered
            if header is not None:
                answer = answer | _told(header)
                node = header.node_id or node
        self._recorder.add(Op(self.name, name, key, start, time.monotonic(), outcome, args, answer, reason, node))
        return outcome


def made_under(version: KeyVersion) -> dict[str, Value]:
    """Of an answer: the version, its root epoch, and that epoch's QKD keys."""
    qkd_keys = " ".join(version.qkd_key_ids)
    return {"version": version.version, "epoch": version.root_epoch, "qkd_keys": qkd_keys}


def _told(header: Header) -> dict[str, Value]:
    staleness = header.staleness.total_seconds() * 1000 if header.staleness is not None else None
    return {"revision": header.revision, "level": header.consistency.name.lower(), "staleness_ms": staleness}
