"""No command of the ledger is without a model that it is held against in any order."""

from typing import get_args

from tests.unit.qkms_node.ledger.test_access_model import AccessInAnyOrder
from tests.unit.qkms_node.ledger.test_key_model import KeysInAnyOrder
from tests.unit.qkms_node.ledger.test_member_model import MembersInAnyOrder
from tests.unit.qkms_node.ledger.test_restore_model import RestoresInAnyOrder
from tests.unit.qkms_node.ledger.test_root_model import RootsInAnyOrder
from tests.unit.qkms_node.ledger.test_sae_model import SaeKeysInAnyOrder

from qkms_node.ledger.commands import AnyCommand

MACHINES = (
    AccessInAnyOrder,
    KeysInAnyOrder,
    MembersInAnyOrder,
    RestoresInAnyOrder,
    RootsInAnyOrder,
    SaeKeysInAnyOrder,
)


def test_every_command_is_given_by_a_machine() -> None:
    given = frozenset[type]().union(*(machine.COMMANDS for machine in MACHINES))
    every = frozenset(get_args(AnyCommand))
    assert every - given == set(), "commands that no model knows: give them to a machine"
    assert given - every == set(), "commands that are not of the ledger"
