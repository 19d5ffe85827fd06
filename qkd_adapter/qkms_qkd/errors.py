"""The one error of the quantum side: a link or its KME did not give what was asked.

Every error names the KME and carries one of `CODES`, which never change their
meaning. The message says what happened and what to do; it never holds a key.
"""

from typing import Final

KME_UNREACHABLE: Final = "KME_UNREACHABLE"
KME_UNAUTHORIZED: Final = "KME_UNAUTHORIZED"
KME_BAD_ANSWER: Final = "KME_BAD_ANSWER"
KEY_WRONG_LENGTH: Final = "KEY_WRONG_LENGTH"
KEY_NOT_FOUND: Final = "KEY_NOT_FOUND"
STORE_EXHAUSTED: Final = "STORE_EXHAUSTED"
KEY_REPLAYED: Final = "KEY_REPLAYED"
LINK_DOWN: Final = "LINK_DOWN"
QBER_TOO_HIGH: Final = "QBER_TOO_HIGH"
KEY_STALE: Final = "KEY_STALE"

CODES: Final = frozenset(
    {
        KME_UNREACHABLE,
        KME_UNAUTHORIZED,
        KME_BAD_ANSWER,
        KEY_WRONG_LENGTH,
        KEY_NOT_FOUND,
        STORE_EXHAUSTED,
        KEY_REPLAYED,
        LINK_DOWN,
        QBER_TOO_HIGH,
        KEY_STALE,
    }
)


class LinkError(Exception):
    """A key or a status could not be had from `kme`.

    `code` is one of CODES. `str()` is the message, which starts with the KME's name.
    """

    def __init__(self, kme: str, code: str, message: str) -> None:
        super().__init__(f"KME {kme}: {message}")
        self.kme = kme
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type["LinkError"], tuple[str, str, str]]:
        return type(self), (self.kme, self.code, self.message)
