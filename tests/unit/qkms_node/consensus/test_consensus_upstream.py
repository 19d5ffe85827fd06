"""The parts of PySyncObj that our mends replace or rely on, by digest: an upgrade forces a review.

When this fails, read the changed method, compare it with what overrides or
calls it (the docstring there names the defect), then update the digest.
"""

import hashlib
import inspect
from importlib.metadata import version

import pytest
from pysyncobj import SyncObj

from qkms_node.consensus.raft import Raft

OVERRIDDEN = {
    "_SyncObj__onMessageReceived": "ddfe34b6c0282179",
    "_SyncObj__sendAppendEntries": "9cb9073128c392fa",
    "_checkCommandsToApply": "a386a8079361d204",
    "_SyncObj__applyLogEntries": "073db677773b5a2d",
    "_SyncObj__tryLogCompaction": "c2f8a0ec14cc7312",
    "_SyncObj__onBecomeLeader": "5a3fd97bc17dc1cf",
    "_SyncObj__connectedToAnyone": "acd40e9e3ac6c4cc",
    "_SyncObj__setCurrentTerm": "0ad5bf456ac06bd3",
    "_SyncObj__generateRaftTimeout": "92ed37d3620e781a",
    "_applyCommand": "827f207d515b2d64",
}
RELIED_ON = {
    "__init__": "09df12cd7fd7d727",
    "_onTick": "cc9eb08232d005ba",
    "_doDestroy": "8a6c9f892614a4b9",
    "_SyncObj__setState": "2c1f239f7bd79b39",
    "_SyncObj__onLeaderChanged": "53b7685e1d897887",
    "_SyncObj__getEntries": "e29c4b33293b2101",
    "_SyncObj__getCurrentLogIndex": "e5af22ca246686bd",
    "_SyncObj__getCurrentLogTerm": "1cb8867e6a13d397",
    "_SyncObj__onNodeConnected": "2655afb481b4c69b",
    "_SyncObj__onNodeDisconnected": "a81c0475ba2218cc",
}


def digest(name: str) -> str:
    return hashlib.sha256(inspect.getsource(getattr(SyncObj, name)).encode()).hexdigest()[:16]


@pytest.mark.parametrize(("name", "expected"), [*OVERRIDDEN.items(), *RELIED_ON.items()])
def test_the_method_is_the_one_that_was_reviewed(name: str, expected: str) -> None:
    assert digest(name) == expected, f"SyncObj.{name} changed in PySyncObj {version('pysyncobj')}: review it"


def test_every_override_is_known_here() -> None:
    overridden = {
        name
        for name in vars(Raft)
        if name in vars(SyncObj) and not (name.startswith("__") and name.endswith("__"))
    }
    assert overridden == set(OVERRIDDEN)


def test_the_engine_never_reaches_what_unpickles() -> None:
    """What loads pickles is overridden, or is reached only from what is."""
    unpickling = {
        name
        for name, f in vars(SyncObj).items()
        if inspect.isfunction(f) and "pickle.loads" in inspect.getsource(f)
    }
    assert unpickling == {
        "_SyncObj__doApplyCommand",  # called by __applyLogEntries alone
        "_SyncObj__onMessageReceived",
        "_SyncObj__parseChangeClusterRequest",  # called by overridden methods and the one above
    }
    callers = {
        name
        for name, f in vars(SyncObj).items()
        if inspect.isfunction(f)
        and name not in unpickling
        and (
            "self.__doApplyCommand(" in inspect.getsource(f)
            or "self.__parseChangeClusterRequest(" in inspect.getsource(f)
        )
    }
    assert callers <= set(OVERRIDDEN)
