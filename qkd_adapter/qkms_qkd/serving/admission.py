"""Who reaches the methods of a face, and how what the supply refuses is answered and logged.

Faces differ in two answers, which they give: to a caller that a key does not name, and when there is none now.
"""

from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from qkms_qkd.identity import principal
from qkms_qkd.serving.supply import Caller, RefusedError, StrangerError, Supply, UnavailableError
from qkms_qkd.serving.web import answered, no_body, peer_certificate, refusal, unavailable

log = structlog.get_logger(__name__)

Answer = Callable[[web.Request, Caller], Awaitable[web.Response]]
Handler = Callable[[web.Request], Awaitable[web.Response]]


class Admission:
    """Lets the SAEs of a supply in; its log events begin with `face`.

    `not_named` makes the answer to a caller whom a key does not name; `unavailable` is the status when the
    supply has no key now.
    """

    def __init__(
        self, supply: Supply, face: str, *, not_named: Callable[[], web.Response], unavailable: int
    ) -> None:
        self._supply = supply
        self._face = face
        self._not_named = not_named
        self._unavailable = unavailable

    def guarded(self, answer: Answer) -> Handler:
        """The handler of a method: 401 for strangers; what `answer` raises becomes a response with its code."""

        async def handler(request: web.Request) -> web.Response:
            caller = self._supply.caller(peer_certificate(request))
            if caller is None:
                stranger = principal(peer_certificate(request))
                log.warning(f"{self._face}.stranger", caller=stranger, path=request.path)
                return answered(no_body(401), StrangerError.code)
            try:
                return answered(await answer(request, caller))
            except RefusedError as error:
                log.info(f"{self._face}.refused", caller=caller.sae, path=request.path, reason=str(error))
                return answered(refusal(400, str(error)), error.code)
            except StrangerError as error:
                log.warning(f"{self._face}.not_named", caller=caller.sae, path=request.path)
                return answered(self._not_named(), error.code)
            except UnavailableError as error:
                log.warning(f"{self._face}.unavailable", caller=caller.sae, path=request.path, reason=str(error))
                return answered(unavailable(self._unavailable, error), error.code)

        return handler
