"""Life cycles as tables: an absent pair is illegal.

The states of a key version follow NIST SP 800-57 Part 1 Rev. 5, section 7.3.
A pair that leads to its own state is a repetition: allowed, changes nothing.
"""

from enum import Enum

from qkms_node.ledger.records import VersionState as S


class Step(Enum):
    """What can happen to a key version."""

    ACTIVATE = "activate"
    ABORT = "abort"
    SUPERSEDE = "supersede"
    DISABLE = "disable"
    ENABLE = "enable"
    ENABLE_PRIMARY = "enable_primary"
    COMPROMISE = "compromise"
    SCHEDULE_DESTROY = "schedule_destroy"
    RESTORE = "restore"
    RESTORE_COMPROMISED = "restore_compromised"
    ERASE = "erase"


VERSION_TRANSITIONS: dict[tuple[S, Step], S] = {
    (S.PRE_ACTIVATION, Step.ACTIVATE): S.ACTIVE,
    (S.PRE_ACTIVATION, Step.ABORT): S.DESTROYED,
    (S.PRE_ACTIVATION, Step.COMPROMISE): S.COMPROMISED,
    (S.ACTIVE, Step.SUPERSEDE): S.DEACTIVATED,
    (S.ACTIVE, Step.DISABLE): S.SUSPENDED,
    (S.ACTIVE, Step.ENABLE_PRIMARY): S.ACTIVE,
    (S.ACTIVE, Step.COMPROMISE): S.COMPROMISED,
    (S.DEACTIVATED, Step.DISABLE): S.SUSPENDED,
    (S.DEACTIVATED, Step.ENABLE): S.DEACTIVATED,
    (S.DEACTIVATED, Step.COMPROMISE): S.COMPROMISED,
    (S.DEACTIVATED, Step.SCHEDULE_DESTROY): S.DESTROY_SCHEDULED,
    (S.SUSPENDED, Step.SUPERSEDE): S.SUSPENDED,
    (S.SUSPENDED, Step.DISABLE): S.SUSPENDED,
    (S.SUSPENDED, Step.ENABLE): S.DEACTIVATED,
    (S.SUSPENDED, Step.ENABLE_PRIMARY): S.ACTIVE,
    (S.SUSPENDED, Step.COMPROMISE): S.COMPROMISED,
    (S.SUSPENDED, Step.SCHEDULE_DESTROY): S.DESTROY_SCHEDULED,
    (S.COMPROMISED, Step.SUPERSEDE): S.COMPROMISED,
    (S.COMPROMISED, Step.COMPROMISE): S.COMPROMISED,
    (S.COMPROMISED, Step.SCHEDULE_DESTROY): S.DESTROY_SCHEDULED,
    (S.DESTROY_SCHEDULED, Step.SUPERSEDE): S.DESTROY_SCHEDULED,
    (S.DESTROY_SCHEDULED, Step.COMPROMISE): S.DESTROY_SCHEDULED,
    (S.DESTROY_SCHEDULED, Step.SCHEDULE_DESTROY): S.DESTROY_SCHEDULED,
    (S.DESTROY_SCHEDULED, Step.RESTORE): S.SUSPENDED,
    (S.DESTROY_SCHEDULED, Step.RESTORE_COMPROMISED): S.COMPROMISED,
    (S.DESTROY_SCHEDULED, Step.ERASE): S.DESTROYED,
    (S.DESTROYED, Step.SUPERSEDE): S.DESTROYED,
}

ENCRYPTS = frozenset({S.ACTIVE})
DECRYPTS = frozenset({S.ACTIVE, S.DEACTIVATED})


def next_state(state: S, step: Step) -> S | None:
    """The state after `step`, or None where the table has no such pair."""
    return VERSION_TRANSITIONS.get((state, step))
