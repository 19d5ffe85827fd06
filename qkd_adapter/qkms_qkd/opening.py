"""From what an operator configured to a link, so that who uses links knows no protocol."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qkms_qkd.etsi014.client import Etsi014Link
from qkms_qkd.keyfiles.client import KeyFileLink
from qkms_qkd.link import Link
from qkms_qkd.skip.client import SkipLink
from qkms_qkd.tls import TlsFiles

LinkProtocol = Literal["etsi014", "skip", "files"]


@dataclass(frozen=True, slots=True)
class LinkSource:
    """Where keys come from; `place` is the KME's URL (etsi014, skip) or the folder of key files (files)."""

    protocol: LinkProtocol
    kme_id: str
    place: str
    tls: TlsFiles
    timeout_s: float
    kme_identity: str


def open_link(source: LinkSource, local_sae: str, peer_sae: str) -> Link:
    """The link from `local_sae` to `peer_sae`. Raises TlsFilesError."""
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
