"""Many calls as few messages: each call is a flow of its own, and what they send is gathered.

A call in a batch is retried, checked and turned into its result by the very
flow that makes it alone. Calls that are to be sent to one node go together, as
many as a message may hold; one that is left over goes as its own RPC.
"""

from collections.abc import Sequence
from typing import Any

from qkms.carrying import BY_PATH, MAX_BATCH_BYTES, MAX_BATCH_CALLS
from qkms.v1 import crypto_pb2 as pb
from qkms_client.carried import event_of
from qkms_client.errors import AnswerNotUnderstood, BatchFull, QkmsError
from qkms_client.flow import Event, Flow, Pause, Send
from qkms_client.methods import BATCH

ANSWER_SHARE = 0.9
"""Of the time that a message has: what each call in it may take, so that the slow ones do not lose the others."""


def run(flows: Sequence[Flow[Any]]) -> Flow[list[Any]]:
    """Runs the flows of carried methods to their ends: the result of each or its QkmsError, in their order.

    Raises what a flow raises before it sends anything, such as ValueError for arguments that fit no request.
    """
    calls = [_Call(flow) for flow in flows]
    while True:
        sending = [call for call in calls if isinstance(call.step, Send)]
        pausing = [call for call in calls if isinstance(call.step, Pause)]
        if sending:
            yield from _send(_one_message(sending))
        elif pausing:
            event = yield Pause(max(call.step.seconds for call in pausing if isinstance(call.step, Pause)))
            for call in pausing:
                call.advance(event)
        else:
            return [call.result for call in calls]


class _Call:
    """One flow, and the step it waits for; None at its end."""

    def __init__(self, flow: Flow[Any]) -> None:
        self._flow = flow
        self.result: Any = None
        self.step: Any = next(flow)

    def advance(self, event: Event) -> None:
        try:
            self.step = self._flow.send(event)
        except StopIteration as done:
            self.step, self.result = None, done.value
        except QkmsError as error:
            self.step, self.result = None, error


def _one_message(sending: list[_Call]) -> list[_Call]:
    endpoint, room, chosen = sending[0].step.endpoint, MAX_BATCH_BYTES, []
    for call in sending:
        # 16 bytes: the tags and lengths around a request.
        size = call.step.request.ByteSize() + 16
        if call.step.endpoint != endpoint or size > room:
            continue
        room -= size
        chosen.append(call)
        if len(chosen) == MAX_BATCH_CALLS:
            break
    # A request that fits no batch goes alone, and meets the node's own limits.
    return chosen or sending[:1]


def _send(calls: list[_Call]) -> Flow[None]:
    first: Send = calls[0].step
    if len(calls) == 1:
        calls[0].advance((yield first))
        return
    timeout = max(call.step.timeout for call in calls)
    request = pb.BatchRequest(
        calls=[BY_PATH[call.step.method.path].call(call.step.request) for call in calls],
        timeout_ms=max(1, int(timeout * ANSWER_SHARE * 1000)),
    )
    event = yield Send(first.endpoint, BATCH, request, timeout)
    for call, one in zip(calls, _events(event, len(calls)), strict=True):
        # What found no room is sent with the next message; the first answer always finds it.
        if not isinstance(one.error, BatchFull):
            call.advance(one)


def _events(event: Event, count: int) -> list[Event]:
    if event.error is not None:
        # An error of its own for each: flows write on theirs which node and request it was.
        return [Event(event.time, error=_copy(event.error)) for _ in range(count)]
    response = event.response
    if isinstance(response, pb.BatchResponse) and len(response.answers) == count:
        return [event_of(answer, event.time) for answer in response.answers]
    return [
        Event(event.time, error=AnswerNotUnderstood("a batch was answered with another number of answers"))
        for _ in range(count)
    ]


def _copy(error: QkmsError) -> QkmsError:
    return type(error)(
        error.message,
        reason=error.reason,
        metadata=error.metadata,
        retry_after=error.retry_after,
        fields=error.fields,
    )
