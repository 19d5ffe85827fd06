"""Trials with a backlog: what breaks their promise, how they are summed up, and how large a write is."""

from dataclasses import replace

import pytest

from qkms_chaos.scenarios.measured import spread
from qkms_chaos.workload.backlog import BACKLOG_BYTES, Trial, largest_labels
from qkms_node.errors import QkmsError
from qkms_node.rpc.fields import labels

GOOD = Trial("node-1", "the leader", 1.9, BACKLOG_BYTES, 300, 4.9)


def test_a_good_trial_breaks_nothing() -> None:
    assert GOOD.breaches() == []


@pytest.mark.parametrize(
    ("trial", "words"),
    [
        (replace(GOOD, first_write_s=2.1), "first write was accepted after 2.10 s"),
        (replace(GOOD, first_write_s=None), "longer than was waited for"),
        (replace(GOOD, backlog_bytes=BACKLOG_BYTES - 1), "only 9,999,999 bytes"),
        (replace(GOOD, behind=0), "it was not cut off"),
        (replace(GOOD, caught_up_s=5.1), "came to one state after 5.10 s"),
        (replace(GOOD, caught_up_s=None), "longer than was waited for"),
    ],
)
def test_what_breaks_the_promise_is_said(trial: Trial, words: str) -> None:
    [breach] = trial.breaches()
    assert breach.startswith("node-1, the leader, was cut off: ")
    assert words in breach


def test_times_are_summed_up() -> None:
    assert spread([float(n) for n in range(1, 31)]) == "p50 16.00, p95 29.00, max 30.00"
    assert spread([1.0, None]) == "p50 inf, p95 inf, max inf"
    assert spread([]) == "none"


def test_labels_are_as_large_as_a_node_takes() -> None:
    largest = largest_labels(0)
    assert labels(largest) == dict(sorted(largest.items()))
    assert largest != largest_labels(1)
    longer = {name + "a": value for name, value in largest.items()}
    with pytest.raises(QkmsError):
        labels(longer)
