"""What an agent hands a key to: one method, so that the agent knows nothing of tunnels."""

from typing import Protocol

from qkms_client.agent.rotation import AgreedKey


class TargetFailed(Exception):
    """The key could not be put in place; the message says what happened and what to look at."""

    code = "TARGET_FAILED"


class Target(Protocol):
    """A tunnel's end on this machine."""

    def install(self, key: AgreedKey, *, initiates: bool) -> None:
        """Puts the key in place, so that it serves from now on; again with the same key changes nothing.

        `initiates`: the other end has it in place already, so that this one may begin to use it.
        Raises TargetFailed.
        """
        ...
