"""TLS credentials that follow the profile's files: a renewed certificate serves the next connection.

gRPC binds a channel to its credentials, so a change means new channels. Calls
in flight end on the old ones, which are let go after the longest call. Files
that do not fit together, as half-way through a renewal, change nothing.
"""

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from qkms.certificates import UNREADABLE
from qkms_client.errors import ProfileInvalid
from qkms_client.profile import Profile

LOOK_EVERY_S = 1.0


class Credentials:
    """`current` is for new channels. Raises ProfileInvalid when there is nothing to begin with."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._stamp = profile.tls_stamp()
        self._looked_at: float | None = None
        self.current = read(profile)

    def renewed(self, now: float) -> bool:
        """Whether `current` is another one than before; looks at the files once a second at most."""
        if self._looked_at is not None and now - self._looked_at < LOOK_EVERY_S:
            return False
        self._looked_at = now
        stamp = self._profile.tls_stamp()
        if stamp == self._stamp:
            return False
        try:
            self.current = read(self._profile, check=True)
        except ProfileInvalid:
            return False
        self._stamp = stamp
        return True


def read(profile: Profile, *, check: bool = False) -> grpc.ChannelCredentials:
    """The credentials of a profile; with `check` only if key and certificate fit. Raises ProfileInvalid."""
    ca, certificate, private_key = profile.read_tls()
    if check:
        try:
            leaf = x509.load_pem_x509_certificate(certificate)
            fits = leaf.public_key() == serialization.load_pem_private_key(private_key, None).public_key()
        except UNREADABLE:
            fits = False
        if not fits:
            raise ProfileInvalid(f"private_key: {profile.private_key} is not the key of {profile.certificate}")
    return grpc.ssl_channel_credentials(
        root_certificates=ca, private_key=private_key, certificate_chain=certificate
    )
