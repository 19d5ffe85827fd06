"""What `up` shows: every node, each link once, and no answer said as such."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from qkms_chaos.status_table import View, key_rate, lines, render
from qkms_client.types import (
    EpochState,
    Grade,
    Header,
    Level,
    Link,
    LinkState,
    NodeStatus,
    Role,
    RootEpoch,
)

NODES = ("node-1", "node-2", "node-3")


def status(node: str, role: Role = Role.FOLLOWER, seeding: str = "", epoch: int = 1) -> NodeStatus:
    root = RootEpoch(epoch, EpochState.ACTIVE, Grade.QKD_PQC, (), NODES, None, None, "")
    header = Header(17, 4, True, timedelta(milliseconds=120), Level.STALE_OK, node, "node-1")
    return NodeStatus(
        node_id=node,
        cluster_id="dev",
        role=role,
        term=4,
        commit_index=20,
        applied_index=20,
        revision=17,
        state_digest=b"d" * 32,
        root=root if epoch else None,
        open_epochs=(1,),
        seeding=seeding,
        members=(),
        key_count=0,
        version="0",
        start_time=datetime.now(UTC),
        header=header,
    )


def link(node: str, peer: str, state: LinkState = LinkState.UP, qber: float | None = 0.033) -> Link:
    return Link(
        peer_node_id=peer,
        local_sae_id=node,
        peer_sae_id=peer,
        source_kme_id="kme-1",
        target_kme_id="kme-2",
        state=state,
        qber=qber,
        skr=75_300.0 if qber else None,
        stored_key_count=812 if qber else None,
        max_key_count=1000 if qber else None,
        key_size=256,
        error="" if qber else "KME kme-1 does not answer",
        observe_time=None,
        node_id=node,
    )


def shown(view: View) -> str:
    page = io.StringIO()
    Console(file=page, width=160).print(render(view, "a cluster"))
    return page.getvalue()


def row(text: str, name: str) -> list[str]:
    """The cells of the first row that begins with `name`."""
    line = next(x for x in text.splitlines() if name in x)
    return [cell.strip() for cell in line.replace("┃", "│").strip("│").split("│")]


def test_a_node_has_its_role_term_revision_root_grade_staleness_and_what_it_waits_for() -> None:
    view = View(NODES, {"node-1": status("node-1", Role.LEADER, seeding="KME kme-1: link is down")})
    assert row(shown(view), "node-1") == [
        "node-1",
        "leader",
        "4",
        "17",
        "1 active",
        "QKD+PQC",
        "0.1 s",
        "KME kme-1: link is down",
    ]


def test_a_node_that_does_not_answer_is_shown_as_such() -> None:
    assert row(shown(View(NODES, {})), "node-2")[:2] == ["node-2", "no answer"]


def test_a_node_without_a_root_has_none() -> None:
    assert row(shown(View(NODES, {"node-1": status("node-1", epoch=0)})), "node-1")[4:6] == ["-", "-"]


def test_each_link_appears_once_with_qber_rate_and_fill() -> None:
    links = {"node-1": [link("node-1", "node-2")], "node-2": [link("node-2", "node-1")]}
    text = shown(View(NODES, {}, links))
    assert row(text, "node-1 - node-2") == ["node-1 - node-2", "up", "3.30%", "75.3 kbit/s", "812/1000", ""]
    assert "node-2 - node-1" not in text


def test_the_end_that_knows_the_figures_is_preferred() -> None:
    links = {
        "node-1": [link("node-1", "node-2", LinkState.KME_UNREACHABLE, None)],
        "node-2": [link("node-2", "node-1")],
    }
    assert row(shown(View(NODES, {}, links)), "node-2 - node-1")[1] == "up"


def test_lines_say_what_changed_and_nothing_that_changes_all_the_time() -> None:
    before = View(NODES, {n: status(n) for n in NODES}, {"node-1": [link("node-1", "node-2")]})
    after = View(NODES, {"node-1": status("node-1")}, {"node-1": [link("node-1", "node-2", LinkState.DOWN, 0.4)]})
    assert lines(before)[0] == "node-1: follower in term 4; root epoch 1 active, grade QKD+PQC"
    assert [line for line in lines(after) if line not in lines(before)] == [
        "node-2: no answer",
        "node-3: no answer",
        "link node-1 - node-2: down",
    ]
    assert "17" not in "".join(lines(before))


@pytest.mark.parametrize(
    ("rate", "text"),
    [(None, "-"), (0.0, "0.0 bit/s"), (17.4, "17.4 bit/s"), (304_000.0, "304.0 kbit/s"), (13.7e6, "13.7 Mbit/s")],
)
def test_key_rates_have_a_fitting_unit(rate: float | None, text: str) -> None:
    assert key_rate(rate) == text
