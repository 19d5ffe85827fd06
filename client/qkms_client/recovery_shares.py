"""From share texts to the recovery key, with errors of this SDK."""

from collections.abc import Sequence

from qkms.errors import SharesRejected
from qkms.recovery import RecoveryKey, join_shares, read_share
from qkms_client.errors import RecoveryFailed


def joined(texts: Sequence[str]) -> RecoveryKey:
    """The recovery key of share texts, each as it was given out. Raises RecoveryFailed; it says which share."""
    shares = []
    for place, text in enumerate(texts, start=1):
        try:
            shares.append(read_share(text))
        except SharesRejected as error:
            raise RecoveryFailed(f"share number {place} of those given: {error}") from None
    try:
        return join_shares(shares)
    except SharesRejected as error:
        raise RecoveryFailed(str(error)) from None
