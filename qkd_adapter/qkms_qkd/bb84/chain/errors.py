"""How a block ends without a key. Codes are stable; messages never hold key bits."""

from typing import Literal

DiscardCode = Literal[
    "QBER_TOO_HIGH",  # more errors than a key could survive, or than the limit set
    "NO_SECRET_BITS",  # the finite-size bound leaves nothing
    "NOT_VERIFIED",  # the corrected keys differ
    "DETECTORS_BLINDED",  # a monitor of the receiver raised an alarm
    "AUTHENTICATION_KEY_NOT_SHARED",  # the parties hold no slot in common, or so it was said
    "MESSAGE_FORGED",  # a tag does not fit what was received
    "MESSAGE_MALFORMED",  # a message is out of place or makes no sense
    "PEER_DISCARDED",  # the other party gave up; its reason is in the message, unauthenticated
]


class BlockDiscarded(Exception):
    """The block gives no key. The link may go on with the next one."""

    def __init__(self, code: DiscardCode, message: str) -> None:
        super().__init__(f"{message} [{code}]")
        self.code: DiscardCode = code
        self.message = message


class AuthenticationKeyExhausted(Exception):
    """No key is left to authenticate a block. The link must stop: only a new secret, shared by other means,
    starts it again."""

    code = "AUTHENTICATION_KEY_EXHAUSTED"

    def __init__(self) -> None:
        super().__init__(
            "no authentication key is left and no block gave new; stop the link and give both ends a new"
            f" pre-shared secret [{self.code}]"
        )
