"""One logical call: attempts at nodes in turn until a result, a refusal or the deadline.

The request is built once, with its request_id inside, and sent unchanged in
each attempt. The first attempt is made at once; between rounds the flow waits
for the back-off of the nodes, never past half of the time that is left. Once as
many attempts as there are nodes ran out of time, the next ones get twice as much:
a request that is slow everywhere ends, and a dead node costs no more than before.
"""

import random
from dataclasses import dataclass

from google.protobuf.message import Message

from qkms.v1 import common_pb2
from qkms_client.consistency import Consistency
from qkms_client.errors import AnswerNotUnderstood, DeadlineExceeded, QkmsError, RevisionNotReached, Unavailable
from qkms_client.flow import Event, Flow, Pause, Send
from qkms_client.methods import Method, Request, Response
from qkms_client.retry import Verdict, ended_unknown, settles, verdict
from qkms_client.routing import Router
from qkms_client.tokens import RevisionToken

LEAST_ATTEMPT_S = 0.02

_SILENCE = (Unavailable, DeadlineExceeded)


@dataclass
class Rules:
    """What the calls of one client share. `timeout` and `attempt_timeout` are in seconds."""

    router: Router
    token: RevisionToken
    spread: random.Random
    timeout: float
    attempt_timeout: float

    def failed(self, endpoint: str, now: float, error: QkmsError) -> None:
        """Takes note of a node that did not serve a call."""
        error.endpoint = endpoint
        if verdict(error) is not Verdict.REFUSED:
            self.router.failed(endpoint, now, spread=self.spread.random(), retry_after=error.retry_after)
            self.router.lost(endpoint)
        leader = error.metadata.get("leader", "")
        if leader:
            self.router.heard(leader, 0)

    def served(self, endpoint: str, header: common_pb2.ResponseHeader) -> None:
        """Takes note of an answer."""
        self.router.succeeded(endpoint)
        self.token.saw(header.revision)
        if header.leader_id:
            self.router.heard(header.leader_id, header.term)


def call(
    rules: Rules,
    method: Method[Request, Response],
    request: Request,
    *,
    timeout: float | None = None,
    consistency: Consistency | None = None,
    only: str | None = None,
) -> Flow[Response]:
    """Makes one logical call; `only` pins it to a node. Raises QkmsError.

    A mutation that ends without a definite answer raises OutcomeUnknown if any of its
    attempts may have taken effect, whatever the last one said.
    """
    _set_consistency(request, rules.token.consistency(consistency, method.fresh))
    now = (yield Pause(0)).time
    deadline = now + (rules.timeout if timeout is None else timeout)
    last: QkmsError = DeadlineExceeded("the call was given no time")
    told: QkmsError | None = None
    nodes = len(rules.router.endpoints) if only is None else 1
    attempts, slow, unknown = 0, 0, False
    while True:
        choice = rules.router.choose(now, mutation=method.mutation, only=only)
        if attempts and choice.wait > 0:
            now = (yield Pause(min(choice.wait, (deadline - now) / 2))).time
        if deadline - now < LEAST_ATTEMPT_S:
            break
        attempts += 1
        patience = rules.attempt_timeout * 2 ** (slow // nodes)
        event = yield Send(choice.endpoint, method, request, min(deadline - now, patience))
        now = event.time
        if event.error is None:
            response = _response(event, method)
            header = _header(response)
            if not rules.token.too_old(header.revision, consistency, method.fresh):
                rules.served(choice.endpoint, header)
                return response
            last = RevisionNotReached(
                f"{choice.endpoint} answered from revision {header.revision}, "
                f"older than {rules.token.revision}, which this client has seen"
            )
        else:
            last = event.error
        rules.failed(choice.endpoint, event.time, last)
        last.request_id = getattr(request, "request_id", None) or None
        slow += isinstance(last, DeadlineExceeded)
        if not isinstance(last, _SILENCE):
            told = last
        match verdict(last):
            case Verdict.REFUSED:
                if unknown and not settles(last):
                    break
                raise last
            case Verdict.UNKNOWN:
                unknown = unknown or method.mutation
            case Verdict.NOT_APPLIED:
                pass
    # What a node said explains more than that another one did not answer.
    final = last if told is None else told
    if unknown:
        raise ended_unknown(final.request_id or "", method.name, final) from final
    raise final


def _set_consistency(request: Message, consistency: Consistency | None) -> None:
    if consistency is not None:
        request.MergeFrom(type(request)(consistency=consistency.message()))


def _response(event: Event, method: Method[Request, Response]) -> Response:
    if not isinstance(event.response, method.response):
        raise AnswerNotUnderstood(f"{method.name} was answered with {type(event.response).__name__}")
    return event.response


def _header(response: Message) -> common_pb2.ResponseHeader:
    header = getattr(response, "header", None)
    return header if isinstance(header, common_pb2.ResponseHeader) else common_pb2.ResponseHeader()
