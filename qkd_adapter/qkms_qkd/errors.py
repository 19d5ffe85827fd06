"""The one error of the quantum side: what a link could not do, at which KME, and what to do next.

Codes are stable: callers branch on `code`, people read the message. Messages never hold key bytes.
"""

from typing import Literal, get_args

LinkErrorCode = Literal[
    "KME_UNREACHABLE",  # no connection, or no answer within the timeout
    "KME_UNAUTHORIZED",  # TLS failed, or the KME does not take us for a party of the key
    "KME_REFUSED",  # a well-formed refusal of the request itself
    "KME_BAD_ANSWER",  # an answer outside the protocol: HTML, wrong JSON, 5xx, too long
    "KEY_WRONG_LENGTH",
    "KEY_NOT_FOUND",
    "KEY_FILE_REFUSED",  # a key file or its folder is not as it must be: permissions, owner, content
    "KEY_REPLAYED",
    "KEY_STALE",
    "KEY_RELAYED",  # a trusted relay has seen the key, and such keys are not admitted
    "KEY_SUSPECT",  # distilled while the QBER of its link was not in order
    "STORE_EXHAUSTED",
    "LINK_DOWN",
    "QBER_TOO_HIGH",
]

LINK_ERROR_CODES: frozenset[str] = frozenset(get_args(LinkErrorCode))


class LinkError(Exception):
    """A link operation failed; `kme` names the KME, `code` is stable, `message` says what happened."""

    def __init__(self, kme: str, code: LinkErrorCode, message: str) -> None:
        super().__init__(f"KME {kme}: {message} [{code}]")
        self.kme = kme
        self.code: LinkErrorCode = code
        self.message = message
