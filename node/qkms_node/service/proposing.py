"""Mutations: from a command to an outcome, with unknown called unknown.

A refusal by the ledger and a proposal that certainly was not committed are
definite; a proposal whose fate is not known is OUTCOME_UNKNOWN, to be
repeated with the same request_id.
"""

import hashlib

from qkms_node.consensus.replica import NoQuorum, NotCommitted, OutcomeUnknown, Replica
from qkms_node.errors import QkmsError
from qkms_node.ledger.commands import AnyCommand, Asked, Outcome, Request, decode_outcome, encode_command

RETRY_AFTER_S = 0.2


def request(request_id: str, principal: str, method: str, canonical: bytes) -> Request:
    """The identity of a mutation. `canonical` is the request's deterministic encoding without its id.

    The principal is in the fingerprint: nobody reads another's outcome by guessing a request_id.
    """
    hashed = hashlib.sha256()
    for part in (principal.encode(), method.encode(), canonical):
        hashed.update(len(part).to_bytes(4, "big"))
        hashed.update(part)
    return Request(request_id, hashed.digest(), principal)


class Proposer:
    """Proposes commands and reads their outcomes."""

    def __init__(self, replica: Replica, timeout_s: float, decided_within_s: float = 30.0) -> None:
        self._replica = replica
        self._timeout_s = timeout_s
        self._decided_within_s = decided_within_s

    async def submit(self, command: AnyCommand) -> Outcome:
        """The outcome, refusals included. Raises QkmsError NO_QUORUM, NOT_COMMITTED, OUTCOME_UNKNOWN."""
        try:
            if isinstance(command, Asked):
                await self._decided_lately()
            return decode_outcome(await self._replica.propose(encode_command(command), self._timeout_s))
        except NoQuorum as error:
            raise QkmsError("NO_QUORUM", f"nothing was written: {error}", retry_after_s=RETRY_AFTER_S) from error
        except NotCommitted as error:
            raise QkmsError(
                "NOT_COMMITTED", f"nothing was written: {error}", retry_after_s=RETRY_AFTER_S
            ) from error
        except OutcomeUnknown as error:
            raise QkmsError(
                "OUTCOME_UNKNOWN",
                f"it is not known whether the write took effect: {error}; "
                "repeat it with the same request_id to learn the outcome",
                retry_after_s=RETRY_AFTER_S,
            ) from error

    async def _decided_lately(self) -> None:
        """Whether the caller may do this was decided over the ledger as it stood here.

        After a cut that was longer than the bound, that ledger may know nothing of a right that was
        taken away: nothing is proposed before this node has caught up. Raises NoQuorum, NotCommitted.
        """
        staleness_s = self._replica.status().staleness_s
        if staleness_s is None or staleness_s > self._decided_within_s:
            await self._replica.read_barrier(self._timeout_s)
            raise NotCommitted("this node has only now caught up with the quorum, and must decide again")

    async def effect(self, command: AnyCommand) -> Outcome:
        """As `submit`, with a refusal raised as QkmsError of the refusal's code."""
        return accepted(await self.submit(command))


def accepted(outcome: Outcome) -> Outcome:
    """The outcome, or its refusal raised as QkmsError."""
    if outcome.code:
        wait_ms = outcome.metadata.get("wait_ms")
        retry_after_s = int(wait_ms) / 1000 if wait_ms else None
        raise QkmsError(outcome.code, outcome.message, retry_after_s, **outcome.metadata)
    return outcome
