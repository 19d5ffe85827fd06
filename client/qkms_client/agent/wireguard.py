"""The pre-shared key of a WireGuard peer, by `wg set`: it enters each handshake beside X25519.

A new key counts from the next handshake, at most two minutes later; what is under way goes on under the keys of
the last one. Between the moments in which the two ends take it up, a handshake fails and is tried again by
WireGuard itself. The key goes to `wg` by a pipe, never by an argument or a file.
"""

import base64
import subprocess

from qkms_client.agent.rotation import AgreedKey
from qkms_client.agent.target import TargetFailed

TIMEOUT_S = 10.0


class WireGuardTarget:
    """The peer `public_key` (base64) of an interface; `program` is wireguard-tools' `wg`."""

    def __init__(self, interface: str, public_key: str, program: str = "wg") -> None:
        self._command = (program, "set", interface, "peer", public_key, "preshared-key", "/dev/stdin")
        self._name = f"peer {public_key[:8]}... of {interface}"

    def install(self, key: AgreedKey, *, initiates: bool) -> None:
        """See Target."""
        try:
            done = subprocess.run(
                self._command,
                input=base64.b64encode(key.key) + b"\n",
                capture_output=True,
                check=False,
                timeout=TIMEOUT_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TargetFailed(f"{self._command[0]}: {error}; install wireguard-tools, run as root") from error
        if done.returncode != 0:
            problem = done.stderr.decode(errors="replace").strip()[:200]
            raise TargetFailed(f"{self._name}: {problem or f'wg ended with status {done.returncode}'}")
