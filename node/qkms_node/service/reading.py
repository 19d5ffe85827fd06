"""Admission of a read: decided when it comes, and decided again over the ledger that it is answered from.

The first decision comes before anything is done, so that who may not costs nothing at the
bounded levels, which are the busy ones. A no counts only over a ledger as fresh as the call asks for: where
it asks for an exact one, a right given a moment ago at another node is not overlooked. The second decision is why
a right withdrawn elsewhere ends here within the bound on staleness.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from qkms_node.access.guard import Guard
from qkms_node.errors import QkmsError
from qkms_node.service.freshness import Freshness, Level, Wanted

EXACT = frozenset({Level.LINEARIZABLE, Level.AT_LEAST})

_Fresh = TypeVar("_Fresh")


async def admit(
    guard: Guard, freshness: Freshness, wanted: Wanted, principal: str, action: str, key_id: str = ""
) -> None:
    """Returns when the ledger is as fresh as `wanted` and the rules in it allow the action.

    Raises QkmsError as the guard and Freshness.ensure do.
    """
    await decided_twice(
        partial(guard.require, principal, action, key_id),
        partial(freshness.ensure, wanted),
        partial(guard.still, principal, action, key_id),
        exact=wanted.level in EXACT,
    )


async def decided_twice(
    require: Callable[[], None], fresh: Callable[[], Awaitable[_Fresh]], still: Callable[[], None], *, exact: bool
) -> _Fresh:
    """What `fresh` returns, between the decisions `require`, which takes a token of a rate, and `still`.

    `exact`: the call asks for a ledger of a certain state, so that a denial before it does not count.
    """
    try:
        require()
    except QkmsError as error:
        if error.code != "PERMISSION_DENIED" or not exact:
            raise
        found = await fresh()
        require()
        return found
    found = await fresh()
    still()
    return found
