"""Admission of a call that uses a key: decided around the wait for freshness, by the grade of its version."""

from collections.abc import Callable, Collection

from qkms_node.access.guard import Guard
from qkms_node.service.freshness import Wanted
from qkms_node.service.reading import EXACT, decided_twice
from qkms_node.service.versions import Versions


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

        `wanted` None is the key's own bound. Raises QkmsError PERMISSION_DENIED, RATE_LIMITED, and what waiting
        for freshness raises.
        """

        def asked(guard: Callable[[str, str, str, Collection[str], int], None]) -> Callable[[], None]:
            return lambda: guard(principal, action, key_id, context, self._versions.grade(key_id, number))

        return await decided_twice(
            asked(self._guard.require),
            lambda: self._versions.fresh(key_id, wanted),
            asked(self._guard.still),
            exact=wanted is not None and wanted.level in EXACT,
        )
