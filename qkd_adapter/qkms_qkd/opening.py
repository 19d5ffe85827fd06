"""From what an operator configured to a link, so that who uses links knows no protocol."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qkms_qkd.etsi014.client import Etsi014Link
from qkms_qkd.failover import FailoverLink, KmeLink
from qkms_qkd.keyfiles.client import KeyFileLink
from qkms_qkd.link import Link
from qkms_qkd.oversight import Oversight
from qkms_qkd.prefetch.link import Marks, PrefetchLink
from qkms_qkd.prefetch.rows import Place
from qkms_qkd.prefetch.store import PrefetchStore
from qkms_qkd.skip.client import SkipLink
from qkms_qkd.tls import TlsFiles

LinkProtocol = Literal["etsi014", "skip", "files"]


@dataclass(frozen=True, slots=True)
class LinkSource:
    """Where keys come from; `place` is the KME's URL (etsi014, skip) or the folder of key files (files).

    Of several, the one of lowest `priority` is preferred.
    """

    protocol: LinkProtocol
    kme_id: str
    place: str
    tls: TlsFiles
    timeout_s: float
    kme_identity: str
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Prefetching:
    """That keys are drawn ahead, where they wait, and how many."""

    store: PrefetchStore
    marks: Marks


@dataclass(frozen=True, slots=True)
class LinkOpener:
    """Opens the links of a node, each through all `sources`, at least one. `retry_s`: see `failover`."""

    sources: Sequence[LinkSource]
    retry_s: float
    prefetching: Prefetching | None = None

    def open(self, local_sae: str, peer_sae: str, oversight: Oversight) -> Link:
        """The link from `local_sae` to `peer_sae`. Raises TlsFilesError."""
        parts = [
            KmeLink(source.kme_id, source.priority, self._through(source, local_sae, peer_sae, oversight))
            for source in self.sources
        ]
        return parts[0].link if len(parts) == 1 else FailoverLink(parts, oversight, self.retry_s)

    def _through(self, source: LinkSource, local_sae: str, peer_sae: str, oversight: Oversight) -> Link:
        link = open_link(source, local_sae, peer_sae)
        # Key files are at hand already.
        if self.prefetching is None or source.protocol == "files":
            return link
        place = Place(source.kme_id, local_sae, peer_sae)
        return PrefetchLink(link, place, self.prefetching.store, self.prefetching.marks, oversight)


def open_link(source: LinkSource, local_sae: str, peer_sae: str) -> Link:
    """The link from `local_sae` to `peer_sae` through one KME. Raises TlsFilesError."""
    if source.protocol == "files":
        return KeyFileLink(source=source.kme_id, folder=Path(source.place), local_sae=local_sae, peer_sae=peer_sae)
    opened = SkipLink if source.protocol == "skip" else Etsi014Link
    return opened(
        kme_id=source.kme_id,
        url=source.place,
        local_sae=local_sae,
        peer_sae=peer_sae,
        ca=source.tls.ca,
        certificate=source.tls.certificate,
        private_key=source.tls.private_key,
        timeout_s=source.timeout_s,
        kme_identity=source.kme_identity,
    )
