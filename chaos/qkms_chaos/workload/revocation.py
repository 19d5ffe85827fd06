"""Revocation under a partition: a node that is cut off stops using a revoked version within the key's bound.

One node is cut off from the others, a version is disabled through these, and a
client that knows the cut-off node only goes on encrypting there. When its last
encryption that succeeded began, counted from the acknowledged revocation, must
be no later than the key's `max_staleness`. Clients and cluster share a machine,
so that all times are of one clock.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.cluster.world import World
from qkms_chaos.faults.network import FaultyNetwork, between
from qkms_chaos.workload.history import Change, Did, Outcome, Use, breaches, last_use_s
from qkms_client import Client, QkmsError, load_profile

KEY = "revoked-under-partition"
ATTEMPT_S = 1.0
LOOK_ON_S = 2.0
HEAL_TIMEOUT_S = 20.0


@dataclass
class RevocationRun:
    """What happened. `last_use_s`: from the acknowledgement; negative when there was no use after it."""

    max_staleness_s: float
    cut_off: str = ""
    uses: list[Use] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    last_use_s: float = 0.0
    refused_with: str = ""
    after_healing: str = ""

    def breaches(self) -> list[str]:
        """See history.breaches."""
        return breaches(self.uses, self.changes, self.max_staleness_s)


def revocation_under_partition(
    world: World, network: FaultyNetwork, max_staleness_s: float, told: Callable[[str], None]
) -> RevocationRun:
    """Raises QkmsError, WaitExpired when the cluster does not do what the run needs of it."""
    run = RevocationRun(max_staleness_s)
    profile = load_profile(world.cluster.layout.service_profile("payments"))
    run.cut_off = world.others(world.observer.wait_leader())[-1]
    majority = {node: address for node, address in profile.endpoints.items() if node != run.cut_off}
    alone = {run.cut_off: profile.endpoints[run.cut_off]}
    begin = time.monotonic()
    world.payments.create_key(KEY, max_staleness=timedelta(seconds=max_staleness_s))
    run.changes.append(Change(KEY, 1, Did.ACTIVATE, begin, time.monotonic()))
    world.observer.wait_agreement()
    with (
        Client(replace(profile, endpoints=majority)) as outside,
        Client(replace(profile, endpoints=alone, timeout_s=ATTEMPT_S, attempt_timeout_s=ATTEMPT_S)) as inside,
    ):
        wait_for("the node to use the key", lambda: _used(inside, run), HEAL_TIMEOUT_S)
        network.cut(between([run.cut_off], world.others(run.cut_off)))
        told(f"{run.cut_off} is cut off")
        begin = time.monotonic()
        outside.disable_version(KEY, 1)
        revoked = Change(KEY, 1, Did.REVOKE, begin, time.monotonic())
        run.changes.append(revoked)
        told("the version is disabled")
        while time.monotonic() < revoked.end + max_staleness_s + LOOK_ON_S:
            _encrypt(inside, run)
        run.last_use_s, run.refused_with = last_use_s(run.uses, revoked), run.uses[-1].reason
        network.heal()
        told("the network is whole again")

        def probe() -> str:
            _encrypt(inside, run)
            if run.uses[-1].reason in ("", run.refused_with):
                raise NotYet(f"it says {run.uses[-1].reason or 'OK'}")
            return run.uses[-1].reason

        run.after_healing = wait_for("the node to know of the revocation", probe, HEAL_TIMEOUT_S)
    return run


def _used(client: Client, run: RevocationRun) -> None:
    _encrypt(client, run)
    if run.uses[-1].outcome is not Outcome.OK:
        raise NotYet(f"it says {run.uses[-1].reason}")


def _encrypt(client: Client, run: RevocationRun) -> None:
    begin = time.monotonic()
    try:
        done = client.encrypt(KEY, b"still?")
    except QkmsError as error:
        run.uses.append(Use(KEY, 1, "encrypt", begin, time.monotonic(), Outcome.REFUSED, error.reason))
    else:
        run.uses.append(Use(KEY, done.version, "encrypt", begin, time.monotonic(), Outcome.OK))
