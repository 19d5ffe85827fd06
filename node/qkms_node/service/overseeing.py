"""What this node's rules and looks say of one link, its KMEs and the keys they gave.

Satisfies `qkms_qkd.oversight.Oversight`, for links that choose KME or moment themselves. Leaves out what is done
about it: drawing and collecting are in `links`.
"""

import time
from collections.abc import Callable
from math import inf

from qkms_node.keys.secret import QkdSecret
from qkms_node.service.admitted_key import AdmittedKey
from qkms_node.service.monitoring.look import Look, look_at
from qkms_node.service.monitoring.monitor import LinkMonitor
from qkms_node.service.monitoring.refusal import refusal
from qkms_qkd.admission import AdmissionRules, admit
from qkms_qkd.errors import LinkError
from qkms_qkd.link import LinkStatus, QkdKey


class Overseer:
    """Of the link to one peer, until `retire`. `kme_id`: the KME that is meant where none is named."""

    def __init__(self, peer: str, rules: AdmissionRules, monitor: LinkMonitor, kme_id: str) -> None:
        self._peer = peer
        self._kme_id = kme_id
        self._rules = rules
        self._monitor = monitor
        self._retired = False

    def look(self, kme_id: str, seen: LinkStatus | LinkError) -> None:
        """One more look at a KME."""
        now_s = time.time()
        look = Look(now_s, problem=seen.code) if isinstance(seen, LinkError) else look_at(seen, now_s)
        # What a link still sees that was replaced, or whose peer has left, is no look any more.
        if not self._retired:
            self._monitor.take(self._peer, look, kme_id)

    def refusal(self, kme_id: str, status: LinkStatus) -> LinkError | None:
        """Why no key is drawn by a KME whose status this is."""
        alarm = self._monitor.view(self._peer, kme_id).refusal
        return refusal(self._rules, alarm, self._monitor.min_store, self._peer, status)

    def drew(self, kme_id: str, number: int, size_bits: int) -> None:
        """Keys were drawn ahead."""
        view = self._monitor.view(self._peer, kme_id)
        for _ in range(number):
            view.use(time.time(), size_bits, drawn=True)

    def took(self, key: QkdKey, *, drawn: bool) -> None:
        """A key came from its KME, as master (`drawn`) or as slave."""
        self._monitor.view(self._peer, key.kme).use(time.time(), len(key.key) * 8, drawn=drawn)

    def admitted(self, key: QkdKey, asked_s: float, used: Callable[[str], bool]) -> AdmittedKey:
        """A key that was asked for at `asked_s` and may be used. Raises LinkError."""
        seen = {key.key_id} if used(key.key_id) else set()
        kme = key.kme or self._kme_id
        distilled_s = _distilled_s(key, asked_s)
        try:
            if self._is_suspect(key, distilled_s):
                why = f"key {key.key_id} was distilled while the QBER of the link to {self._peer} was not in order"
                raise LinkError(kme, "KEY_SUSPECT", f"{why}; draw another")
            admit(self._rules, key, seen=seen, kme=kme)
        except LinkError as error:
            self._monitor.view(self._peer, key.kme).discarded[error.code] += 1
            raise
        return AdmittedKey(key.key_id, QkdSecret(key.key), key.relays, self._worst_qber(key, distilled_s))

    def _is_suspect(self, key: QkdKey, distilled_s: tuple[float, float] | None) -> bool:
        """Whether a key is in doubt; of unknown age, while its link is."""
        view = self._monitor.view(self._peer, key.kme)
        return view.refusal is not None if distilled_s is None else view.is_suspect(*distilled_s)

    def _worst_qber(self, key: QkdKey, distilled_s: tuple[float, float] | None) -> float | None:
        """That of the time when a key was distilled; of unknown age, of all times that are known."""
        return self._monitor.view(self._peer, key.kme).worst_qber(*(distilled_s or (-inf, inf)))

    def retire(self) -> None:
        """The link is not used any more."""
        self._retired = True


def _distilled_s(key: QkdKey, asked_s: float) -> tuple[float, float] | None:
    """Between which times a key was distilled; None: its KME, asked at `asked_s`, does not tell its age."""
    if key.age_s is None:
        return None
    return asked_s - key.age_s - key.age_slack_s, time.time() - key.age_s
