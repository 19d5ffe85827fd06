"""The steps of the tour, in order. Each does what its title says, checks it, and tells the result.

Everything goes through the SDK as any service would use it; faults go through
the process driver and the admin API of the KMEs.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from qkms_chaos.cluster.observe import describe_root
from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.cluster.world import World
from qkms_client.errors import CiphertextRejected
from qkms_client.types import Encrypted, Grade, Role, VersionState

KEY = "orders"
CONTEXT = {"tenant": "acme", "table": "cards"}
MESSAGE = b"attack at dawn"
REFUSAL_TIMEOUT_S = 15.0


class DoesNotHold(Exception):
    """A step came to another result than it promises."""


def expect(holds: bool, promise: str) -> None:
    """Raises DoesNotHold unless the promise holds."""
    if not holds:
        raise DoesNotHold(promise)


class Tour:
    """A cluster, clients of two services and the operator, and what the steps hand on to each other."""

    def __init__(self, world: World, told: Callable[[str], None]) -> None:
        self._cluster = world.cluster
        self._payments = world.payments
        self._ledger = world.ledger
        self._operator = world.operator
        self._observer = world.observer
        self._told = told
        self._killed = ""
        self._cut = ("", "")
        self._epoch = 0
        self._sealed: list[Encrypted] = []

    def root_epoch(self) -> str:
        """Seeding from QKD is over on every node."""
        seen = self._observer.wait_root(1)
        root = next(iter(seen.values())).root
        assert root is not None
        expect(root.grade is Grade.QKD_PQC, f"the grade is QKD+PQC, not {root.grade}")
        self._epoch = root.epoch
        return f"{len(root.qkd_key_ids)} QKD keys mixed in, grade {root.grade}, open on {', '.join(seen)}"

    def create_key(self) -> str:
        """A new key has one version, of the root's grade."""
        key = self._payments.create_key(KEY)
        expect(key.primary_version == 1, "the primary version is 1")
        return f"{key.name}: {key.algorithm}, primary version 1, at revision {key.revision}"

    def encrypt_and_decrypt(self) -> str:
        """Decrypting gives the plaintext back, with the right context only."""
        sealed = self._encrypt()
        opened = self._payments.decrypt(KEY, sealed.ciphertext, context=CONTEXT)
        expect(opened.plaintext == MESSAGE, "decrypting gives back what was encrypted")
        try:
            self._payments.decrypt(KEY, sealed.ciphertext, context={"tenant": "other"})
        except CiphertextRejected as error:
            refusal = error.reason
        else:
            raise DoesNotHold("another context is refused")
        return (
            f"{len(MESSAGE)} bytes to {len(sealed.ciphertext)} under version {sealed.version}, grade "
            f"{sealed.grade}, and back; with another context: {refusal}"
        )

    def data_key(self) -> str:
        """A data key opens again from its encrypted form."""
        data_key = self._payments.generate_data_key(KEY, context=CONTEXT)
        expect(len(data_key.plaintext) == 32, "a data key has 32 bytes")
        opened = self._payments.decrypt(KEY, data_key.ciphertext, context=CONTEXT)
        expect(opened.plaintext == data_key.plaintext, "the encrypted form opens to the same key")
        return f"32 bytes, kept as {len(data_key.ciphertext)} bytes that only the cluster opens"

    def derived_key(self) -> str:
        """The same context gives the same key, another context another."""
        derived, again, other = (
            self._payments.derive_key(KEY, context=context) for context in (CONTEXT, CONTEXT, {"tenant": "other"})
        )
        expect(derived.key == again.key, "the same context gives the same key")
        expect(derived.key != other.key, "another context gives another key")
        return f"32 bytes from version {derived.version}: equal for an equal context, different for another"

    def rotate_twice(self) -> str:
        """One request has one effect, however often it is sent."""
        request_id = uuid4()
        first = self._payments.rotate_key(KEY, request_id=request_id, expected_primary_version=1)
        again = self._payments.rotate_key(KEY, request_id=request_id, expected_primary_version=1)
        expect(not first.replayed, "the first rotation is not a replay")
        expect(again.replayed, "the second is marked as replayed")
        expect(first.version == again.version, "both name the same version")
        versions = self._payments.list_versions(KEY)
        expect([v.version for v in versions] == [1, 2], "there are versions 1 and 2 and no more")
        expect([v.state for v in versions] == [VersionState.DEACTIVATED, VersionState.ACTIVE], "2 replaced 1")
        return f"one new version ({first.version.version}); the repetition answered replayed={again.replayed}"

    def session(self) -> str:
        """Two services agree on keys that the cluster cannot read."""
        session_id = uuid4()
        payments, ledger = self._payments, self._ledger
        with ThreadPoolExecutor(max_workers=1) as pool:
            opening = pool.submit(
                payments.open_session, ledger.principal, session=session_id, required_grade=Grade.QKD_PQC
            )
            joined = ledger.join_session(session_id, initiator=payments.principal)
            opened = opening.result()
        expect(opened.fingerprint() == joined.fingerprint(), "both ends have the same fingerprint")
        expect(opened.send_key() == joined.receive_key(), "what one end sends with, the other receives with")
        return (
            f"payments has fingerprint {opened.fingerprint()}\n"
            f"ledger has fingerprint   {joined.fingerprint()}, grade {joined.grade}"
        )

    def kill_leader(self) -> str:
        """No read waits for an election."""
        self._killed = self._observer.wait_leader()
        self._cluster.nodes[self._killed].kill()
        begun = time.monotonic()
        for _ in range(20):
            self._encrypt()
        took = time.monotonic() - begun
        return f"{self._killed} is dead; 20 encryptions right after it took {took * 1000:.0f} ms, none failed"

    def rotate_on_new_leader(self) -> str:
        """Writes go on as soon as there is a new leader."""
        begun = time.monotonic()
        rotation = self._payments.rotate_key(KEY)
        took = time.monotonic() - begun
        alive = [n for n in self._cluster.layout.nodes if n != self._killed]
        leader = self._observer.wait_leader(alive)
        status = self._observer.status(leader)
        expect(rotation.version.version == 3, f"the new version is 3, not {rotation.version.version}")
        expect(status is not None and status.role is Role.LEADER, f"{leader} leads")
        term = status.term if status else 0
        return f"version 3 on {leader}, leader of term {term}, {took * 1000:.0f} ms after it was asked for"

    def restart_killed(self) -> str:
        """A killed node has lost nothing that counts."""
        self._cluster.start_members([self._killed])
        status = self._observer.wait_agreement()
        self._observer.wait_root(self._epoch)
        return f"all nodes at revision {status.revision} with state digest {status.state_digest.hex()[:16]}"

    def cut_link(self) -> str:
        """With the policy require_qkd a root without QKD is not made; what there is goes on serving."""
        leader = self._observer.wait_leader()
        site = self._cluster.layout.site(leader)
        peer = next(s.kme for s in self._cluster.layout.sites if s.node != leader)
        self._cut = (site.kme, peer)
        self._cluster.kme_admin.cut(*self._cut)
        self._wait_link_down(leader, peer)
        self._operator.rotate_root(expected_epoch=self._epoch)

        def refused() -> str:
            status = self._observer.status(leader)
            if status is None or not status.seeding:
                raise NotYet("no word of seeding")
            root = status.root
            expect(root is not None and root.epoch == self._epoch, f"root epoch {self._epoch} stays active")
            return status.seeding

        reason = wait_for("the leader to say why the root waits", refused, REFUSAL_TIMEOUT_S, told=self._told)
        self._encrypt()
        return (
            f"{site.kme} - {peer} is cut; the root waits: {reason}\n"
            f"encryption goes on under root epoch {self._epoch}"
        )

    def _wait_link_down(self, node: str, kme: str) -> None:
        peer = self._cluster.layout.site(kme).node

        def probe() -> None:
            states = {link.peer_node_id: link.state.name for link in self._observer.links(node)}
            if states.get(peer) != "DOWN":
                raise NotYet(f"{node} sees its link to {peer} as {states.get(peer)}")

        wait_for(f"{node} to see its link to {peer} down", probe, REFUSAL_TIMEOUT_S, told=self._told)

    def heal_link(self) -> str:
        """The rotation asked for while the link was down comes about."""
        self._cluster.kme_admin.heal(*self._cut)
        seen = self._observer.wait_root(self._epoch + 1, Grade.QKD_PQC)
        self._epoch += 1
        return "; ".join(f"{node}: {describe_root(status)}" for node, status in seen.items())

    def decrypt_everything(self) -> str:
        """Rotations, a dead leader and a new root cost no ciphertext."""
        for sealed in self._sealed:
            opened = self._ledger.decrypt(KEY, sealed.ciphertext, context=CONTEXT)
            expect(opened.plaintext == MESSAGE, f"a ciphertext of version {sealed.version} still decrypts")
        versions = sorted({sealed.version for sealed in self._sealed})
        return f"{len(self._sealed)} ciphertexts of versions {', '.join(map(str, versions))}"

    def _encrypt(self) -> Encrypted:
        sealed = self._payments.encrypt(KEY, MESSAGE, context=CONTEXT)
        self._sealed.append(sealed)
        return sealed


STEPS: tuple[tuple[str, Callable[[Tour], str]], ...] = (
    ("wait until root epoch 1 is active", Tour.root_epoch),
    ("create a key", Tour.create_key),
    ("encrypt and decrypt", Tour.encrypt_and_decrypt),
    ("get a data key", Tour.data_key),
    ("derive a key from a context", Tour.derived_key),
    ("rotate, and send the identical rotation again", Tour.rotate_twice),
    ("open a post-quantum session between two services", Tour.session),
    ("kill -9 the leader: encryption goes on", Tour.kill_leader),
    ("the next rotation succeeds on the new leader", Tour.rotate_on_new_leader),
    ("restart the killed node: it catches up", Tour.restart_killed),
    ("cut a QKD link: the root refuses to go on without it", Tour.cut_link),
    ("heal the link: the root goes on", Tour.heal_link),
    ("everything encrypted on the way still decrypts", Tour.decrypt_everything),
)
"""Titles and actions in order; an action returns its result in words or raises."""
