"""One logical call, attempt by attempt, without a network: the test plays clock and nodes."""

import random
from collections.abc import Callable

import pytest

from qkms.v1 import common_pb2, crypto_pb2, key_pb2
from qkms_client import errors as e
from qkms_client import methods
from qkms_client.call import Rules, call
from qkms_client.flow import Event, Flow, Pause, Send
from qkms_client.routing import Router
from qkms_client.status import NotSent
from qkms_client.tokens import RevisionToken

REQUEST_ID = "7f1c6d52-2b43-4d5f-8a86-0b1f5a5d9f01"
NODES = ("node-1", "node-2", "node-3")
Reply = key_pb2.RotateKeyResponse | key_pb2.GetKeyResponse | crypto_pb2.EncryptResponse | e.QkmsError


class Stage:
    """Performs the steps of a flow. `attempts` are the nodes and requests of each attempt."""

    def __init__(self) -> None:
        self.rules = Rules(Router(NODES), RevisionToken(), random.Random(1), timeout=10.0, attempt_timeout=2.0)
        self.now = 100.0
        self.attempts: list[tuple[str, bytes]] = []
        self.timeouts: list[float] = []

    def play(self, flow: Flow[object], reply: Callable[[Send, int], Reply], takes: float = 0.01) -> object:
        """Runs the flow to its end; each attempt takes `takes` seconds of the stage's clock."""
        step = next(flow)
        while True:
            if isinstance(step, Pause):
                assert step.seconds >= 0
                self.now += step.seconds
                event = Event(self.now)
            else:
                assert isinstance(step, Send)
                self.attempts.append((step.endpoint, step.request.SerializeToString(deterministic=True)))
                self.timeouts.append(step.timeout)
                assert len(self.attempts) < 1000
                answer = reply(step, len(self.attempts) - 1)
                self.now += takes
                if isinstance(answer, e.QkmsError):
                    event = Event(self.now, error=answer)
                else:
                    event = Event(self.now, response=answer)
            try:
                step = flow.send(event)
            except StopIteration as end:
                return end.value

    def rotate(self, reply: Callable[[Send, int], Reply], takes: float = 0.01) -> object:
        """Plays a RotateKey."""
        request = key_pb2.RotateKeyRequest(request_id=REQUEST_ID, name="keys/payments", expected_primary_version=1)
        return self.play(call(self.rules, methods.ROTATE_KEY, request), reply, takes)


def rotated(replayed: bool = False, revision: int = 5) -> key_pb2.RotateKeyResponse:
    return key_pb2.RotateKeyResponse(header=head(revision), replayed=replayed)


def head(revision: int, leader: str = "", term: int = 1) -> common_pb2.ResponseHeader:
    return common_pb2.ResponseHeader(revision=revision, leader_id=leader, term=term)


def test_a_mutation_is_repeated_unchanged_at_other_nodes() -> None:
    stage = Stage()
    answer = stage.rotate(lambda _, n: e.Unavailable("lost") if n < 2 else rotated(replayed=True))
    assert isinstance(answer, key_pb2.RotateKeyResponse)
    assert answer.replayed
    assert {endpoint for endpoint, _ in stage.attempts} == set(NODES)
    assert len({request for _, request in stage.attempts}) == 1


@pytest.mark.parametrize("reason", ["NO_QUORUM", "NOT_COMMITTED", "ROOT_NOT_READY", "SHUTTING_DOWN"])
def test_what_was_not_applied_is_tried_again(reason: str) -> None:
    stage = Stage()
    stage.rotate(lambda _, n: e.BY_REASON[reason]("later") if n == 0 else rotated())
    assert len(stage.attempts) == 2


@pytest.mark.parametrize(
    "refusal", [e.VersionConflict("no"), e.KeyNotFound("no"), e.PermissionDenied("no"), e.InternalError("no")]
)
def test_a_definite_refusal_is_the_result_at_once(refusal: e.QkmsError) -> None:
    stage = Stage()
    with pytest.raises(type(refusal)):
        stage.rotate(lambda _s, _n: refusal)
    assert len(stage.attempts) == 1


def test_a_mutation_that_may_have_happened_never_ends_as_a_failure() -> None:
    stage = Stage()
    with pytest.raises(e.OutcomeUnknown) as caught:
        stage.rotate(lambda _, n: e.Unavailable("lost") if n == 0 else e.NoQuorum("none"))
    assert caught.value.request_id == REQUEST_ID
    assert REQUEST_ID in str(caught.value)


def test_a_mutation_that_certainly_did_not_happen_ends_as_what_it_met() -> None:
    stage = Stage()
    with pytest.raises(e.NoQuorum):
        stage.rotate(lambda _s, _n: e.NoQuorum("none"))
    stage = Stage()
    with pytest.raises(NotSent):
        stage.rotate(lambda _s, _n: NotSent("no connection"))


def test_what_a_node_said_explains_more_than_that_another_was_silent() -> None:
    stage = Stage()
    with pytest.raises(e.NoQuorum):
        stage.rotate(lambda send, _n: e.NoQuorum("cut off") if send.endpoint == "node-1" else NotSent("refused"))
    assert {endpoint for endpoint, _ in stage.attempts} == set(NODES)


def test_a_blind_refusal_after_a_lost_answer_leaves_the_outcome_unknown() -> None:
    """The node that refuses by its access rules never looked whether the first attempt took effect."""
    stage = Stage()
    with pytest.raises(e.OutcomeUnknown):
        stage.rotate(lambda _, n: e.Unavailable("lost") if n == 0 else e.PermissionDenied("no"))
    assert len(stage.attempts) == 2


def test_a_refusal_of_the_ledger_after_a_lost_answer_is_definite() -> None:
    stage = Stage()
    with pytest.raises(e.VersionConflict):
        stage.rotate(lambda _, n: e.Unavailable("lost") if n == 0 else e.VersionConflict("no"))


def test_a_read_that_ends_without_an_answer_is_no_unknown_outcome() -> None:
    stage = Stage()
    flow = call(stage.rules, methods.GET_KEY, key_pb2.GetKeyRequest(name="keys/payments"))
    with pytest.raises(e.Unavailable):
        stage.play(flow, lambda _s, _n: e.Unavailable("lost"))


@pytest.mark.parametrize("takes", [0.01, 0.7, 2.0])
def test_the_deadline_holds_over_all_attempts(takes: float) -> None:
    stage = Stage()
    with pytest.raises(e.NoQuorum):
        stage.rotate(lambda _s, _n: e.NoQuorum("none"), takes)
    assert stage.now <= 110.0 + takes
    assert all(timeout <= 2.0 for timeout in stage.timeouts)


def test_an_attempt_gets_no_more_time_than_is_left() -> None:
    stage = Stage()
    stage.rules.timeout = 0.5
    with pytest.raises(e.OutcomeUnknown):
        stage.rotate(lambda send, _n: e.DeadlineExceeded("none"), takes=0.2)
    assert stage.timeouts[0] <= 0.5
    assert stage.timeouts == sorted(stage.timeouts, reverse=True)


def test_what_is_slow_at_every_node_is_given_twice_the_time() -> None:
    stage = Stage()
    stage.rules.timeout = 60.0

    def only_with_time(send: Send, _n: int) -> Reply:
        return rotated() if send.timeout > 4.0 else e.DeadlineExceeded("too slow")

    stage.rotate(only_with_time, takes=2.0)
    assert stage.timeouts == [2.0] * 3 + [4.0] * 3 + [8.0]


def test_a_node_that_is_asked_alone_is_given_twice_the_time_at_once() -> None:
    stage = Stage()
    request = key_pb2.GetKeyRequest(name="keys/payments")
    flow = call(stage.rules, methods.GET_KEY, request, only="node-2")
    answers = (e.DeadlineExceeded("too slow"), key_pb2.GetKeyResponse(header=head(5)))
    stage.play(flow, lambda _s, n: answers[n])
    assert stage.timeouts == [2.0, 4.0]


def test_the_leader_named_in_an_error_is_asked_next() -> None:
    """The nodes name it in the metadata `leader` of what could not be served."""
    stage = Stage()
    stage.rotate(lambda _, n: e.NotCommitted("not here", metadata={"leader": "node-3"}) if n == 0 else rotated())
    assert [endpoint for endpoint, _ in stage.attempts] == ["node-1", "node-3"]


def test_the_leader_named_in_an_answer_is_asked_first_next_time() -> None:
    stage = Stage()
    flow = call(stage.rules, methods.GET_KEY, key_pb2.GetKeyRequest(name="keys/payments"))
    stage.play(flow, lambda _s, _n: key_pb2.GetKeyResponse(header=head(3, leader="node-2", term=4)))
    stage.rotate(lambda _s, _n: rotated())
    assert stage.attempts[-1][0] == "node-2"


def test_what_was_seen_is_asked_for_by_the_next_metadata_read() -> None:
    stage = Stage()
    stage.rotate(lambda _s, _n: rotated(revision=41))
    flow = call(stage.rules, methods.GET_KEY, key_pb2.GetKeyRequest(name="keys/payments"))
    stage.play(flow, lambda _s, _n: key_pb2.GetKeyResponse(header=head(41)))
    sent = key_pb2.GetKeyRequest.FromString(stage.attempts[-1][1])
    assert sent.consistency == common_pb2.Consistency(level=common_pb2.AT_LEAST, revision=41)


def test_an_encryption_from_before_a_rotation_is_not_taken() -> None:
    stage = Stage()
    stage.rotate(lambda _s, _n: rotated(revision=41))
    flow = call(stage.rules, methods.ENCRYPT, crypto_pb2.EncryptRequest(name="keys/payments"))
    answer = stage.play(
        flow, lambda _, n: crypto_pb2.EncryptResponse(header=head(40 if n == 1 else 41), version=n)
    )
    assert isinstance(answer, crypto_pb2.EncryptResponse)
    assert answer.header.revision == 41
    first, second = stage.attempts[1:]
    assert first[0] != second[0]
    assert not crypto_pb2.EncryptRequest.FromString(first[1]).HasField("consistency")
