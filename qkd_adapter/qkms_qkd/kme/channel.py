"""Client end of the channel to one peer KME: mutual TLS, pinned to the peer's identity, bounded.

Every failure is a ChannelError. `definite` says that the peer surely did not act on the message; anything
else (a timeout, a broken connection) leaves that open and the caller must allow for both.
"""

from typing import TypeVar

import aiohttp
import msgspec

from qkms_qkd.kme.channel_messages import (
    Assign,
    AssignAnswer,
    Discard,
    Hello,
    HelloAnswer,
    LinkReport,
    Offer,
)
from qkms_qkd.kme.faults import Faults
from qkms_qkd.kme.network.messages import Carry, CarryAnswer, Probe, Reach
from qkms_qkd.kme.settings import LinkSection
from qkms_qkd.serving.bodies import BodyUnreadable, decoded
from qkms_qkd.tls import TlsFiles, client_context

MAX_MESSAGE_BYTES = 8 << 20
NOT_GREETED = 409
_TIMEOUT_S = 3.0
_Answer = TypeVar("_Answer", bound=msgspec.Struct)


class ChannelError(Exception):
    """The peer KME could not be asked, or refused."""

    def __init__(self, reason: str, definite: bool) -> None:
        super().__init__(reason)
        self.definite = definite


class NotGreetedError(Exception):
    """The peer has started anew since the last hello."""


class Nothing(msgspec.Struct, frozen=True):
    """An answer without content."""


class Channel:
    """Asks one peer."""

    def __init__(self, link: LinkSection, tls: TlsFiles) -> None:
        self._base = f"https://{link.peer_address}/link/v1"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=client_context(tls, link.identity())),
            trust_env=False,
        )

    async def hello(self, message: Hello) -> HelloAnswer:
        """Tells what is held here, learns what is held there. Raises ChannelError."""
        return await self._ask("hello", message, HelloAnswer)

    async def offer(self, message: Offer) -> None:
        """Hands finished keys over. Raises ChannelError, NotGreetedError."""
        await self._ask("offer", message, Nothing)

    async def assign(self, message: Assign) -> AssignAnswer:
        """Asks the peer to hold drawn keys for their slave. Raises ChannelError."""
        return await self._ask("assign", message, AssignAnswer)

    async def discard(self, key_ids: list[str]) -> None:
        """Asks the peer to forget keys. Raises ChannelError."""
        await self._ask("discard", Discard(key_ids), Nothing)

    async def carry(self, message: Carry) -> CarryAnswer:
        """Hands shares of relayed keys on. Raises ChannelError."""
        return await self._ask("carry", message, CarryAnswer, message.within_s)

    async def probe(self, message: Probe) -> Reach:
        """How the rest of a route stands. Raises ChannelError."""
        return await self._ask("probe", message, Reach, message.within_s)

    async def set_faults(self, faults: Faults) -> LinkReport:
        """Sets the faults at the running end. Raises ChannelError."""
        return await self._ask("faults", faults, LinkReport)

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()

    async def _ask(
        self, operation: str, message: msgspec.Struct, form: type[_Answer], within_s: float = _TIMEOUT_S
    ) -> _Answer:
        try:
            async with self._session.post(
                f"{self._base}/{operation}",
                data=msgspec.json.encode(message),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=within_s),
            ) as response:
                body = await response.content.read(MAX_MESSAGE_BYTES)
                while chunk := await response.content.read(MAX_MESSAGE_BYTES):
                    body += chunk
                    if len(body) > MAX_MESSAGE_BYTES:
                        raise ChannelError(f"{operation}: the answer is too long", definite=False)
        except aiohttp.ClientConnectorError as error:
            raise ChannelError(f"{operation}: {error}", definite=True) from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise ChannelError(f"{operation}: {reason}", definite=False) from error
        if response.status == NOT_GREETED:
            raise NotGreetedError
        if response.status != 200:
            raise ChannelError(f"{operation}: answered {response.status}", definite=response.status < 500)
        try:
            return decoded(body, form)
        except BodyUnreadable as error:
            raise ChannelError(f"{operation}: unreadable answer (it {error})", definite=False) from None
