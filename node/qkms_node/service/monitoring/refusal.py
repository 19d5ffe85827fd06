"""Why no key is drawn from a link now: by its status, by an alarm, or for want of keys. Pure."""

from qkms_node.service.monitoring.alarms import Alarm
from qkms_qkd.admission import AdmissionRules, admit_link
from qkms_qkd.errors import LinkError
from qkms_qkd.link import LinkStatus


def refusal(
    rules: AdmissionRules, alarm: Alarm | None, min_store: int, peer: str, status: LinkStatus
) -> LinkError | None:
    """The reason, or None. `alarm`: the one that forbids it; `min_store`: keys that are left for others."""
    try:
        admit_link(rules, status)
    except LinkError as error:
        return error
    if alarm is not None:
        return LinkError(
            status.source_kme,
            "QBER_TOO_HIGH",
            f"the alarm {alarm.kind.name} of the link to {peer} is raised: {alarm.cause}; "
            "keys are used again when it is cleared; look for an eavesdropper, then check the fibre",
        )
    # A KME that does not tell may have some, and what was drawn ahead is its no more.
    stored = status.stored_key_count
    if stored is None or stored > min_store or status.prefetched:
        return None
    why = f"has {stored} keys for {peer} in store, and {min_store} are left for others"
    return LinkError(status.source_kme, "STORE_EXHAUSTED", why if stored else f"has no key for {peer} in store")
