"""Runs a table of conformance cases against a KME, one after another, and reports each.

A case asks the KME as one or more parties and raises DeviationError at the first thing that is not as its
clause says. Parties that the caller has no certificate for leave their cases "not run", a KME that gives no
answer leaves them "unknown"; neither is counted as conforming. Every case draws its own keys, so that cases
do not depend on each other.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from qkms_qkd.answers import HttpAnswer
from qkms_qkd.errors import LinkError
from qkms_qkd.exchange import Exchange
from qkms_qkd.tls import TlsFiles

Outcome = Literal["conforms", "deviates", "unknown", "not run"]
_NO_ANSWER = frozenset({"KME_UNREACHABLE", "KME_UNAUTHORIZED"})


class DeviationError(Exception):
    """The KME does not do what the clause says; the message says what it did, without key bytes."""


class NotRunError(Exception):
    """The case cannot be judged here; the message says why."""


@dataclass(frozen=True, slots=True)
class Party:
    """An SAE, the KME it asks, and its certificate; `id` is its SAE id or SKIP system id."""

    id: str
    url: str
    tls: TlsFiles


@dataclass(frozen=True, slots=True)
class Case:
    """One clause: what the KME must do, and the check of it."""

    clause: str
    requirement: str
    check: Callable[["Bench"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one case ended; `reason` is empty when it conforms."""

    clause: str
    requirement: str
    outcome: Outcome
    reason: str = ""


@dataclass
class Bench:
    """The parties of a run: `local` draws, `peer` (at the other KME) collects, `bystander` is an SAE of the
    peer's KME that is named nowhere. Raises TlsFilesError, when a party first asks."""

    local: Party
    peer_id: str
    peer: Party | None = None
    bystander: Party | None = None
    timeout_s: float = 5.0
    _exchanges: dict[str, Exchange] = field(default_factory=dict)

    async def as_local(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: object = None
    ) -> HttpAnswer:
        """The answer to a request of `local`; a body is sent as JSON."""
        return await self._ask(self.local, method, path, query, body)

    async def as_peer(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: object = None
    ) -> HttpAnswer:
        """The answer to a request of `peer`. Raises NotRunError without its certificate."""
        return await self._ask(
            _given(self.peer, "--peer-url and the peer's certificate"), method, path, query, body
        )

    async def as_bystander(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: object = None
    ) -> HttpAnswer:
        """The answer to a request of `bystander`. Raises NotRunError without its certificate."""
        return await self._ask(_given(self.bystander, "a bystander's certificate"), method, path, query, body)

    async def close(self) -> None:
        """Closes every connection."""
        for exchange in self._exchanges.values():
            await exchange.close()

    async def _ask(
        self, party: Party, method: str, path: str, query: Mapping[str, str] | None = None, body: object = None
    ) -> HttpAnswer:
        exchange = self._exchanges.get(party.id)
        if exchange is None:
            exchange = Exchange(party.url, party.url, party.tls, self.timeout_s, None)
            self._exchanges[party.id] = exchange
        content = None if body is None else msgspec.json.encode(body)
        return await exchange.ask(method, path, query=query, body=content)


def _given(party: Party | None, what: str) -> Party:
    if party is None:
        raise NotRunError(f"needs {what}")
    return party


async def run(cases: Sequence[Case], bench: Bench) -> list[Verdict]:
    """The verdict of every case, in order. Raises TlsFilesError."""
    return [await _judged(case, bench) for case in cases]


async def _judged(case: Case, bench: Bench) -> Verdict:
    outcome: Outcome = "conforms"
    reason = ""
    try:
        await case.check(bench)
    except NotRunError as error:
        outcome, reason = "not run", str(error)
    except DeviationError as error:
        outcome, reason = "deviates", str(error)
    except LinkError as error:
        outcome, reason = "unknown" if error.code in _NO_ANSWER else "deviates", error.message
    return Verdict(case.clause, case.requirement, outcome, reason)
