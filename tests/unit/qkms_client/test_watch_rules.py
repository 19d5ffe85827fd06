"""A watch message by message, without a network: what resumes, what repeats, when it ends."""

import random
from collections.abc import Sequence

import pytest

from qkms.v1 import common_pb2
from qkms.v1 import key_pb2 as pb
from qkms_client import errors as e
from qkms_client.call import Rules
from qkms_client.flow import Event, Flow, OpenStream, Pause, Receive
from qkms_client.flows.watch import MAX_LAG, WatchState
from qkms_client.routing import Router
from qkms_client.tokens import RevisionToken
from qkms_client.types import KeyEvent

NODES = ("node-1", "node-2", "node-3")


class Stage:
    """Plays the nodes: `answers` are received in turn, a message or an error each."""

    def __init__(self, answers: Sequence[pb.WatchKeysResponse | e.QkmsError], takes: float = 0.1) -> None:
        self.rules = Rules(Router(NODES), RevisionToken(), random.Random(1), timeout=10.0, attempt_timeout=2.0)
        self.now = 50.0
        self.opened: list[tuple[str, str]] = []
        self._answers = iter(answers)
        self._takes = takes

    def play(self, flow: Flow[list[KeyEvent]]) -> list[int]:
        """The revisions of the events of one batch."""
        event: Event | None = None
        while True:
            try:
                step = next(flow) if event is None else flow.send(event)
            except StopIteration as done:
                return [got.revision for got in done.value]
            match step:
                case Pause(seconds):
                    self.now += seconds
                    event = Event(self.now)
                case OpenStream(endpoint, _, request):
                    assert isinstance(request, pb.WatchKeysRequest)
                    self.opened.append((endpoint, request.resume_token))
                    event = Event(self.now)
                case Receive():
                    self.now += self._takes
                    answer = next(self._answers)
                    if isinstance(answer, e.QkmsError):
                        event = Event(self.now, error=answer)
                    else:
                        event = Event(self.now, response=answer)
                case _:
                    raise AssertionError(step)


def batch(*revisions: int, staleness_s: float | None = 0.0, token: str = "") -> pb.WatchKeysResponse:
    last = max(revisions, default=0)
    message = pb.WatchKeysResponse(
        header=common_pb2.ResponseHeader(revision=last),
        events=[pb.KeyEvent(revision=r, type=pb.KEY_ROTATED, name="keys/a", version=r) for r in revisions],
        resume_token=token or f"after-{last}",
    )
    if staleness_s is not None:
        message.header.staleness.FromMilliseconds(int(staleness_s * 1000))
    return message


def watch(stage: Stage, token: str | None = None, give_up_after: float | None = 60.0) -> WatchState:
    return WatchState(stage.rules, "keys/a", token, give_up_after)


def test_it_begins_from_now_and_knows_its_place_before_the_first_event() -> None:
    stage = Stage([batch(token="after-7"), e.Unavailable("lost"), batch(8)])
    state = watch(stage)
    assert stage.play(state.begin()) == []
    state.delivered()
    assert state.resume_token == "after-7"
    assert stage.play(state.batch()) == [8]
    assert stage.opened == [("node-1", ""), ("node-2", "after-7")]


def test_with_a_token_it_waits_for_nothing_to_begin() -> None:
    stage = Stage([])
    assert stage.play(watch(stage, "after-3").begin()) == []
    assert stage.opened == []


def test_the_token_covers_only_what_was_given_out() -> None:
    stage = Stage([batch(4, 5)])
    state = watch(stage, "after-3")
    assert stage.play(state.batch()) == [4, 5]
    assert state.resume_token == "after-3"
    state.delivered()
    assert state.resume_token == "after-5"


def test_what_a_reconnect_repeats_is_given_out_once() -> None:
    stage = Stage([batch(4, 5), e.Unavailable("lost"), batch(4, 5, 6), batch(6, 7)])
    state = watch(stage, "after-3")
    assert [stage.play(state.batch()) for _ in range(3)] == [[4, 5], [6], [7]]


def test_events_of_one_revision_are_all_given_out() -> None:
    first = batch(4)
    second = batch(4)
    second.events[0].type = pb.VERSION_STATE_CHANGED
    stage = Stage([first, second])
    state = watch(stage, "after-3")
    assert [stage.play(state.batch()) for _ in range(2)] == [[4], [4]]


@pytest.mark.parametrize("staleness_s", [None, MAX_LAG.total_seconds() + 1])
def test_a_node_without_the_quorum_is_left_after_its_events(staleness_s: float | None) -> None:
    stage = Stage([batch(4, staleness_s=staleness_s), batch(5)])
    state = watch(stage, "after-3")
    assert stage.play(state.batch()) == [4]
    assert stage.play(state.batch()) == [5]
    assert stage.opened == [("node-1", "after-3"), ("node-2", "after-4")]


def test_compacted_history_ends_it_at_once() -> None:
    stage = Stage([e.HistoryCompacted("gone", metadata={"oldest_revision": "90"})])
    with pytest.raises(e.HistoryCompacted) as caught:
        stage.play(watch(stage, "after-3").batch())
    assert caught.value.oldest_revision == 90
    assert len(stage.opened) == 1


def test_without_any_contact_it_gives_up_in_time_with_what_it_met() -> None:
    stage = Stage([e.Unavailable("lost")] * 1000)
    with pytest.raises(e.Unavailable):
        stage.play(watch(stage, "after-3", give_up_after=5.0).batch())
    assert 55.0 <= stage.now <= 58.0
    assert {node for node, _ in stage.opened} == set(NODES)


def test_contact_in_between_starts_the_time_anew() -> None:
    lost: list[pb.WatchKeysResponse | e.QkmsError] = [e.Unavailable("lost")] * 10
    stage = Stage([*lost, batch(4), *lost, batch(5)], takes=0.2)
    state = watch(stage, "after-3", give_up_after=3.0)
    assert [stage.play(state.batch()) for _ in range(2)] == [[4], [5]]
    assert stage.now > 50.0 + 3.0


def test_it_may_go_on_for_ever() -> None:
    lost: list[pb.WatchKeysResponse | e.QkmsError] = [e.Unavailable("lost")] * 500
    stage = Stage([*lost, batch(4)])
    assert stage.play(watch(stage, "after-3", give_up_after=None).batch()) == [4]
