"""The one family of errors that a service call can end with.

Each has a stable `code`, the ErrorInfo reason of the wire, a message that
says what happened to what and what to do next, and metadata. The table from
code to gRPC status lives in rpc.errors. Nothing here carries a secret.
"""


class QkmsError(Exception):
    """A call that ended without the effect or the answer asked for.

    `retry_after_s` is set where trying again later helps.
    """

    def __init__(self, code: str, message: str, retry_after_s: float | None = None, **metadata: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s
        self.metadata = {name: str(value) for name, value in metadata.items()}


class InvalidField(QkmsError):
    """A request field that cannot be accepted; `field` is its path in the request."""

    def __init__(self, field: str, problem: str, code: str = "INVALID_FIELD", **metadata: object) -> None:
        super().__init__(code, f"{field}: {problem}", None, **metadata)
        self.field = field
        self.problem = problem
