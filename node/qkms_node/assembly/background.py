"""What a node does unasked: membership, certificates, seeding and shares, rewrapping, rotation, audit anchors."""

import time
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

from qkms_node.assembly.foundation import Foundation, now_ms
from qkms_node.ca import SigningCa
from qkms_node.config import Config
from qkms_node.rpc.signers import NodeSigners
from qkms_node.service.audit import Audit
from qkms_node.service.certificates import Certificates
from qkms_node.service.drawing import Drawing
from qkms_node.service.enrolment import Enrolment
from qkms_node.service.evidence import Witness
from qkms_node.service.material import Materials
from qkms_node.service.membership import Membership
from qkms_node.service.monitoring.reporting import AlarmReporter
from qkms_node.service.prefetching import PrefetchUnlocking
from qkms_node.service.recovery import Recovery
from qkms_node.service.rewrapping import Rewrapping
from qkms_node.service.rotation import Rotator
from qkms_node.service.seeding import Seeder
from qkms_node.service.shares import Voter
from qkms_node.service.sharing import Sharing
from qkms_node.service.upkeep import Upkeep
from qkms_node.service.versions import Versions
from qkms_node.telemetry.state import CacheState


class Background:
    """The parts that run by themselves. The use cases of the faces share some of them."""

    def __init__(self, base: Foundation) -> None:
        config, store, roots, links = base.config, base.store, base.roots, base.links
        replica, proposer, freshness = base.replica, base.proposer, base.freshness
        self._base = base
        self.membership = Membership(config, base.members, replica, store, proposer)
        signers = NodeSigners(config, base.members, replica, store)
        self.enrolment = Enrolment(
            config, base.members, make_ca(config), signers, store, proposer, freshness, now_ms
        )
        self.certificates = Certificates(config, self.enrolment.renew_own)
        self.voter = Voter(config, store, roots, links, proposer)
        retry_s = config.root.retry_ms / 1000
        sharing = Sharing(
            *(config.cluster.id, config.node.id, store, roots, links, proposer), retry_s, time.monotonic
        )
        seeder = Seeder(config, store, roots, links, sharing, proposer, now_ms)
        self.recovery = Recovery(config, base.guard, store, roots, proposer, sharing)
        self.versions = Versions(store, roots, freshness)
        base.metrics.collect_from(CacheState(self.versions.cache_use))
        self._drawing = Drawing(store, roots)
        self.materials = Materials(store, roots, self._drawing, proposer, freshness)
        self._rotator = Rotator(replica, store, self.materials, proposer, now_ms)
        self.audit = Audit(config, base.guard, store, roots, proposer, freshness, base.calls, base.spool)
        self.upkeep = Upkeep(
            replica,
            store,
            roots,
            self.voter,
            seeder,
            sharing,
            self.recovery,
            Rewrapping(store, roots, proposer, now_ms),
            proposer,
            self.versions,
            now_ms,
            base.members,
            self.membership,
            links,
            Witness(config.node.id, store, roots, self.materials, proposer),
            AlarmReporter(config.node.id, links.monitor, store, proposer, time.monotonic),
        )
        prefetched = links.prefetched
        self._unlocking = (
            PrefetchUnlocking(prefetched, config.node.data_dir, roots) if prefetched is not None else None
        )
        roots.on_seal = self._wipe_keys

    def loops(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What to run, by name, until the node stops. One that ends has failed."""
        loops = {
            "links": self._base.links.watch(),
            "upkeep": self.upkeep.run(),
            "rotation": self._rotator.run(),
            "audit": self.audit.run(),
            "certificates": self.certificates.run(),
        }
        if self._unlocking is not None:
            loops["prefetch"] = self._unlocking.run()
        return loops

    def _wipe_keys(self) -> None:
        if self._unlocking is not None:
            self._unlocking.lock()
        self.versions.wipe()
        self._drawing.wipe()


def make_ca(config: Config) -> SigningCa | None:
    """The CA, at a node that may sign. Raises CaUnusable."""
    ca = config.ca
    if ca is None:
        return None
    return SigningCa(config.tls.ca, ca.key_file, ca.passphrase_file, timedelta(seconds=ca.leaf_lifetime_s))
