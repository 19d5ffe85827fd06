"""Admission of a call that uses a key: decided, made fresh, and decided again over the fresh ledger.

The first decision comes before anything is done, so that who may not use a key
costs nothing. A no counts only over a ledger as fresh as the call asks for;
the second decision is why a revoked right ends everywhere within the key's
bound on staleness. A rate limit takes one token.
"""

from collections.abc import Collection

from qkms_node.access.guard import Guard
from qkms_node.errors import QkmsError
from qkms_node.service.freshness import Level, Wanted
from qkms_node.service.versions import Versions

EXACT = frozenset({Level.LINEARIZABLE, Level.AT_LEAST})


class Admission:
    """Asks the guard around the wait for freshness."""

    def __init__(self, guard: Guard, versions: Versions) -> None:
        self._guard = guard
        self._versions = versions

    async def admit(
        self,
        principal: str,
        action: str,
        key_id: str,
        wanted: Wanted | None,
        context: Collection[str] = (),
        number: int = 0,
    ) -> Wanted:
        """Returns the consistency that holds. `number`: the version in question, 0: the primary one.

        Raises QkmsError PERMISSION_DENIED, RATE_LIMITED, and what waiting for freshness raises.
        """
        try:
            self._guard.require(principal, action, key_id, context, self._versions.grade(key_id, number))
        except QkmsError as error:
            if error.code != "PERMISSION_DENIED" or wanted is None or wanted.level not in EXACT:
                raise
            effective = await self._versions.fresh(key_id, wanted)
            self._guard.require(principal, action, key_id, context, self._versions.grade(key_id, number))
            return effective
        effective = await self._versions.fresh(key_id, wanted)
        self._guard.still(principal, action, key_id, context, self._versions.grade(key_id, number))
        return effective
