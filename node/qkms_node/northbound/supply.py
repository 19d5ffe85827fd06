"""The cluster as a `Supply` of keys for SAEs: from the protocols' terms to `service.sae_keys` and back.

Any node serves any SAE: the certificate, the patterns in [northbound] `saes` and the policy decide who is served.
Vendor extensions: `qkms_grade` may be mandatory in a request; grade and root epoch are in
`key_container_extension` (where all keys agree) and in each `key_extension`; `status_extension` has the grade
that a key drawn now would have.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from qkms_node.access.identity import principal as principal_of
from qkms_node.config_quantum import NorthboundSection
from qkms_node.errors import QkmsError
from qkms_node.keys.grade import Grade
from qkms_node.ledger.patterns import any_matches
from qkms_node.service.sae_keys import SaeKey, SaeKeys
from qkms_qkd.identity import PeerCertificate, common_name, sae_id
from qkms_qkd.link import QkdKey
from qkms_qkd.serving.supply import (
    Caller,
    Delivered,
    Demand,
    ExtensionNotMetError,
    KeysNotFoundError,
    RefusedError,
    Standing,
    StrangerError,
    Supplied,
    Terms,
    UnavailableError,
)

GRADE = "qkms_grade"
ALGORITHM = "QKMS"
"""In SKIP's capabilities: what a key comes from, its grade says, and SKIP has no field for that."""
GRADE_NAMES = {Grade.PQC: "PQC", Grade.QKD: "QKD", Grade.QKD_PQC: "QKD+PQC"}
_GRADES = {name: grade for grade, name in GRADE_NAMES.items()}
_SAE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}")

_STRANGER = frozenset({"PERMISSION_DENIED", "SAE_KEY_NOT_NAMED"})


class ClusterSupply:
    """Serves every SAE that matches `saes`, at this node."""

    def __init__(self, section: NorthboundSection, cluster_id: str, node_id: str, keys: SaeKeys) -> None:
        self._section = section
        self._cluster_id = cluster_id
        self._node_id = node_id
        self._keys = keys
        self.terms = Terms(
            section.size_bits,
            section.min_size_bits,
            section.max_size_bits,
            section.max_waiting,
            section.max_per_request,
            section.max_additional_slaves,
            frozenset({GRADE}),
            ALGORITHM,
        )

    def caller(self, certificate: PeerCertificate) -> Caller | None:
        """As Supply.caller."""
        sae = sae_id(certificate, self._section.sae_identity)
        if sae is None or not self._serves(sae):
            return None
        try:
            return Caller(sae, caller_principal(certificate))
        except QkmsError:
            return None

    def remotes(self, caller: Caller) -> list[str]:
        """The ids that policy lets the caller share keys with, and every pattern, which SKIP has too."""
        return [
            sae
            for sae in self._section.saes
            if "*" in sae or (sae != caller.sae and self._keys.may_share(caller.principal, caller.sae, sae))
        ]

    async def standing(self, caller: Caller, slave: str) -> Standing:
        """`stored` is the room that the pair has left: keys are made when they are drawn."""
        self._require_other(caller, slave)
        with _told():
            room, grade = self._keys.room(caller.principal, caller.sae, slave)
        return Standing(
            self._node_id, self._cluster_id, room, {"grade": GRADE_NAMES.get(grade) if grade else None}
        )

    async def draw(self, caller: Caller, demand: Demand) -> Delivered:
        """As Supply.draw."""
        for slave in demand.slaves:
            self._require_other(caller, slave)
        if len(set(demand.slaves)) != len(demand.slaves):
            raise RefusedError("a slave SAE is named twice")
        required = _required(demand)
        with _told():
            keys = await self._keys.draw(
                caller.principal, caller.sae, demand.slaves, demand.number, demand.size_bits, required
            )
        return _delivered(keys)

    async def collect(self, caller: Caller, master: str, key_ids: Sequence[str]) -> Delivered:
        """As Supply.collect."""
        self._require_other(caller, master)
        with _told():
            return _delivered(await self._keys.collect(caller.principal, master, caller.sae, key_ids))

    def entropy(self, caller: Caller, size_bytes: int) -> bytes:
        """As Supply.entropy."""
        with _told():
            return self._keys.entropy(caller.principal, size_bytes)

    def _serves(self, sae: str) -> bool:
        return _SAE_ID.fullmatch(sae) is not None and any_matches(self._section.saes, sae)

    def _require_other(self, caller: Caller, other: str) -> None:
        if other == caller.sae:
            raise RefusedError("master and slave SAE shall differ")
        if not self._serves(other):
            raise RefusedError(f"SAE {other[:128]} is not known to cluster {self._cluster_id}")


def caller_principal(certificate: PeerCertificate) -> str:
    """The principal of a certificate, as for gRPC. Raises QkmsError for one that names nobody."""
    name = common_name(certificate)
    names = [str(value).encode() for _, value in certificate.get("subjectAltName", ())]
    return principal_of(
        {"x509_subject_alternative_name": names, "x509_common_name": [name.encode()] if name else []}
    )


def _required(demand: Demand) -> Grade | None:
    if GRADE not in demand.mandatory:
        return None
    name = demand.mandatory[GRADE]
    if not isinstance(name, str) or name not in _GRADES:
        raise RefusedError(f"{GRADE} shall be one of {', '.join(sorted(_GRADES))}")
    return _GRADES[name]


def _delivered(keys: list[SaeKey]) -> Delivered:
    about = [{"grade": GRADE_NAMES[key.grade], "root_epoch": key.epoch} for key in keys]
    agree = all(each == about[0] for each in about)
    return Delivered(
        [Supplied(QkdKey(key.key_id, key.key), each) for key, each in zip(keys, about, strict=True)],
        dict(about[0]) if agree else None,
    )


@contextmanager
def _told() -> Iterator[None]:
    """Errors of the service as answers of the standards."""
    try:
        yield
    except QkmsError as error:
        if error.code in _STRANGER:
            raise StrangerError from error
        if error.code == "SAE_KEY_NOT_FOUND":
            raise KeysNotFoundError from error
        if error.code == "GRADE_NOT_MET":
            raise ExtensionNotMetError from error
        raise UnavailableError(error.code, error.message, error.retry_after_s) from error
