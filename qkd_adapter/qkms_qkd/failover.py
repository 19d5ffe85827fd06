"""One link through several KMEs of a site: the preferred one serves, and the next while it cannot. Satisfies Link.

Draw: by priority, the first KME that answers, is not refused by the oversight and gives the keys. Whatever went
wrong with one, another then gives other keys: keys of a lost answer are lost and never counted as delivered.

Collect: the master drew from the KME that is joined to one of ours, and the slave cannot know which. So each is
asked for the key until one has it, one id at a time. Asking the wrong one consumes nothing: it has no key of
that id (ETSI GS QKD 014 clause 5.3: 400, or 401). One that failed is asked last, and still asked: it may be the
only one that has the key.

A KME that failed is left alone for `retry_s`, then asked for its status again; as soon as that is good it
serves by its priority again. Ordering: a verdict is never older than the last `status`, so callers that must not
draw from a link in doubt ask for the status first.
Left out: sharing the load between KMEs, and telling the slave which KME to ask, for which no protocol has a word.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from qkms_qkd.errors import LinkError
from qkms_qkd.link import KmeCondition, Link, LinkStatus, QkdKey
from qkms_qkd.oversight import Oversight

log = structlog.get_logger(__name__)

# After these the KME may hold the key that was asked for; any other failure says that it cannot be had there.
_UNDECIDED = frozenset({"KME_UNREACHABLE", "KME_BAD_ANSWER", "LINK_DOWN"})


@dataclass(frozen=True, slots=True)
class KmeLink:
    """The link through one KME; a lower `priority` is preferred (as in RFC 2782), equals in the order given."""

    kme_id: str
    priority: int
    link: Link


class _Route:
    """One KME and what was last seen of it. `failure`: why it was given up, until its status is good again."""

    def __init__(self, part: KmeLink) -> None:
        self.kme_id = part.kme_id
        self.priority = part.priority
        self.link = part.link
        self.seen: LinkStatus | None = None
        self.failure: LinkError | None = None
        self.retry_at_s = 0.0

    def rests(self, now_s: float) -> bool:
        return self.failure is not None and now_s < self.retry_at_s


class FailoverLink:
    """The link to one peer through all of `parts`, at least one; times in seconds."""

    def __init__(
        self,
        parts: Sequence[KmeLink],
        oversight: Oversight,
        retry_s: float,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._routes = [_Route(part) for part in sorted(parts, key=lambda part: part.priority)]
        self.peer_sae = self._routes[0].link.peer_sae
        self._oversight = oversight
        self._retry_s = retry_s
        self._monotonic_s = monotonic_s
        self._served = ""

    async def status(self) -> LinkStatus:
        """That of the KME that serves, else of the most preferred that answers; `kmes` has all of them.

        Asks every KME that is not left alone, all at once. Raises LinkError when none answers.
        """
        now_s = self._monotonic_s()
        await asyncio.gather(*(self._ask(route) for route in self._routes if not route.rests(now_s)))
        problems = [self._problem(route) for route in self._routes]
        serving = next((r for r, why in zip(self._routes, problems, strict=True) if why is None), None)
        serving = serving or next(iter(self._reserves()), None)
        if serving is not None:
            self._note(serving)
        shown = serving or next((route for route in self._routes if route.failure is None), None)
        if shown is None or shown.seen is None:
            raise self._joined("answers", [why for why in problems if why is not None])
        conditions = [
            KmeCondition(r.kme_id, r.priority, r.seen, str(why) if why is not None else "", r is serving)
            for r, why in zip(self._routes, problems, strict=True)
        ]
        return replace(shown.seen, kme=shown.kme_id, kmes=tuple(conditions))

    async def draw(self, number: int = 1, size_bits: int = 256) -> list[QkdKey]:
        """Exactly `number` fresh keys of one KME, as master. Raises LinkError when none gives them."""
        problems: list[LinkError] = []
        async for route in self._in_turn(problems):
            try:
                keys = await route.link.draw(number, size_bits)
            except LinkError as error:
                problems.append(error)
                if error.code != "STORE_EXHAUSTED":
                    self._fail(route, error)
                continue
            self._note(route)
            return [replace(key, kme=route.kme_id) for key in keys]
        raise self._joined("gives a key", problems)

    async def collect(self, key_ids: Sequence[str], size_bits: int = 256) -> list[QkdKey]:
        """The keys of these ids, in this order, as slave, each from the KME that has it. Raises LinkError."""
        return [await self._find(key_id, size_bits) for key_id in key_ids]

    async def close(self) -> None:
        """Closes every link."""
        await asyncio.gather(*(route.link.close() for route in self._routes))

    async def _find(self, key_id: str, size_bits: int) -> QkdKey:
        now_s = self._monotonic_s()
        problems: list[LinkError] = []
        for route in sorted(self._routes, key=lambda route: route.rests(now_s)):
            try:
                [key] = await route.link.collect([key_id], size_bits)
            except LinkError as error:
                problems.append(error)
                if error.code == "KME_UNREACHABLE":
                    self._fail(route, error)
                continue
            return replace(key, kme=route.kme_id)
        raise self._joined(f"gives key {key_id}", problems)

    async def _in_turn(self, problems: list[LinkError]) -> AsyncIterator[_Route]:
        """The KMEs to draw from, one after another; why the others are passed over goes to `problems`."""
        for route in self._routes:
            if not route.rests(self._monotonic_s()) and (route.seen is None or route.failure is not None):
                await self._ask(route)
            why = self._problem(route)
            if why is None:
                yield route
            else:
                problems.append(why)
        for route in self._reserves():
            yield route

    async def _ask(self, route: _Route) -> None:
        try:
            status = await route.link.status()
        except LinkError as error:
            self._fail(route, error)
            route.seen = None
            self._oversight.look(route.kme_id, error)
            return
        route.seen = status
        if status.failure is not None:
            self._fail(route, status.failure)
        elif route.failure is not None:
            log.info("kme.answers_again", kme=route.kme_id, peer=self.peer_sae)
            route.failure = None
        self._oversight.look(route.kme_id, status)

    def _fail(self, route: _Route, error: LinkError) -> None:
        if route.failure is None or route.failure.code != error.code:
            log.warning("kme.failed", kme=route.kme_id, peer=self.peer_sae, code=error.code, error=str(error))
        route.failure = error
        route.retry_at_s = self._monotonic_s() + self._retry_s

    def _problem(self, route: _Route) -> LinkError | None:
        """Why it is not drawn from now."""
        if route.failure is not None or route.seen is None:
            return route.failure
        return self._oversight.refusal(route.kme_id, route.seen)

    def _reserves(self) -> list[_Route]:
        """KMEs that do not answer while keys of theirs wait here: drawn from when no other KME can be."""
        return [
            route
            for route in self._routes
            if route.failure is not None
            and route.seen is not None
            and route.seen.prefetched
            and self._oversight.refusal(route.kme_id, route.seen) is None
        ]

    def _note(self, route: _Route) -> None:
        if self._served and self._served != route.kme_id:
            log.warning("kme.serves_instead", kme=route.kme_id, instead_of=self._served, peer=self.peer_sae)
        self._served = route.kme_id

    def _joined(self, what: str, problems: Sequence[LinkError]) -> LinkError:
        """One error for all: its code is of one that another attempt may mend, if there is such a one."""
        undecided = next((error for error in problems if error.code in _UNDECIDED), None)
        first = undecided or next((e for e in problems if e.code != "KEY_NOT_FOUND"), problems[0])
        names = ", ".join(route.kme_id for route in self._routes)
        reasons = "; ".join(str(error) for error in problems)
        return LinkError(names, first.code, f"none of them {what}: {reasons}")
