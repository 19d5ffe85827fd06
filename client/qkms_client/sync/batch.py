"""CryptoService: many calls at once."""

from collections.abc import Iterable
from typing import TypeVar

from qkms_client.batch import Item
from qkms_client.errors import QkmsError
from qkms_client.flows import batch as flows
from qkms_client.sync.runner import Runner

T = TypeVar("T")


class BatchCalls(Runner):
    """Calls made together, with a result each."""

    def batch(self, items: Iterable[Item[T]], *, timeout: float | None = None) -> list[T | QkmsError]:
        """Makes the calls of `qkms_client.batch`, any number, in as few messages as they fit into.

        Gives the result of each, or the error that the call would have raised alone, in their
        order: one that fails fails alone. Each is retried as it would be alone, until `timeout`
        seconds after the start. Raises ValueError for arguments that fit no request, with nothing sent.
        """
        return self._run(flows.run([item.flow(self._rules, timeout) for item in items]))
