"""What became of root epochs in a run, from the audit of mutations: every step, in the order of the ledger.

Times are of time.monotonic, as in the rest of a run: the audit has those of the leader's clock, which is this
machine's. Left out: who confirmed or rejected a share, which the audit does not name.
"""

import time
from dataclasses import dataclass

from qkms_chaos.cluster.world import World
from qkms_client.access_types import AuditChain

ACTIVATED, ABORTED, REJECTED, REPLACED = "activate_root", "abort_root", "reject_share", "replace_share"
FELL_BACK, RESUMED = "qkd_fell_back", "qkd_resumed"


@dataclass(frozen=True)
class RootStep:
    """`what` was done (one of the words above, or another command of the root) to this epoch."""

    at: float
    what: str
    epoch: int


def root_steps(world: World) -> list[RootStep]:
    """All of them. Raises QkmsError."""
    ahead_s = time.time() - time.monotonic()
    records = world.operator.query_audit(AuditChain.MUTATIONS, resource="rootEpochs/*")
    return [
        RootStep(record.time.timestamp() - ahead_s, record.method, int(record.resource.partition("/")[2]))
        for record in records
        if record.time is not None
    ]
