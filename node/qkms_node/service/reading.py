"""Admission of a read: allowed when it comes, and still allowed by the ledger that it is answered from."""

from qkms_node.access.guard import Guard
from qkms_node.service.freshness import Freshness, Wanted


async def admit(
    guard: Guard, freshness: Freshness, wanted: Wanted, principal: str, action: str, key_id: str = ""
) -> None:
    """Returns when the ledger is as fresh as `wanted` and the rules in it allow the action.

    Decided before the wait, so that strangers cause none, and again after it, since a right
    that was withdrawn meanwhile counts. Raises QkmsError as the guard and Freshness.ensure do.
    """
    guard.require(principal, action, key_id)
    await freshness.ensure(wanted)
    guard.still(principal, action, key_id)
