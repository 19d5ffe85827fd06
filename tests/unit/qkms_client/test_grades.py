"""The client judges a grade by the same rule as the node."""

import pytest

from qkms_client import Grade
from qkms_node.keys import grade as node

KNOWN = (Grade.PQC, Grade.QKD, Grade.QKD_PQC)


@pytest.mark.parametrize("actual", KNOWN)
@pytest.mark.parametrize("required", [Grade.UNSPECIFIED, *KNOWN])
def test_client_and_node_agree(actual: Grade, required: Grade) -> None:
    wanted = node.Grade(required) if required else None
    assert actual.satisfies(required) is node.satisfies(node.Grade(actual), wanted)
