"""Encryptors that know only ETSI GS QKD 014 or SKIP get keys from a cluster of real nodes, each key once."""

import asyncio
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from qkms_chaos.checking.history import Recorder
from qkms_chaos.cluster.northbound import NorthboundProtocol, allow, encryptor_of, identity, northbound_urls
from qkms_chaos.cluster.world import World
from qkms_chaos.faults.nemesis import Nemesis
from qkms_chaos.workload.killings import killed, killings
from qkms_chaos.workload.northbound import northbound_once
from qkms_client import AuditChain, Grade, RateLimit, Rule
from qkms_qkd.conformance.command import TABLES
from qkms_qkd.kme.__main__ import main as qkms_kme
from qkms_qkd.tls import client_context

pytestmark = pytest.mark.cluster

A, B, C, D = SAES = ("sae:a", "sae:b", "sae:c", "sae:d")
NOT_FOUND = "one or more keys specified are not found on KME"
KEYS = 200
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "northbound.md"


@pytest.fixture(scope="module")
def permitted(lasting: World) -> World:
    """What these tests may beside what a and b may anyway: a draws for c; whoever is named collects."""
    rules = [
        Rule(("northbound.draw",), (f"saePairs/{A}/{C}",)),
        Rule(("northbound.collect",), ("saePairs/*",)),
    ]
    allow(lasting, "encryptors", rules, A, B, C)
    return lasting


@pytest.fixture
def cluster(permitted: World, healthy: World) -> World:
    """The shared cluster, whole, with the rules applied everywhere."""
    return healthy


def arguments(world: World, protocol: NorthboundProtocol) -> list[str]:
    """`qkms-kme conformance` with a at the first node, b and a bystander at the second."""
    here, there, _ = northbound_urls(world.cluster, protocol).values()
    words = ["conformance", "--protocol", protocol, "--local", A, "--peer", B, "--peer-url", there, "--json"]
    for name, sae in (("", A), ("peer-", B), ("bystander-", C)):
        files = world.cluster.authority.issue(identity(sae))
        words += [f"--{name}certificate", str(files.certificate), f"--{name}private-key", str(files.private_key)]
    return [*words, "--ca", str(files.ca), here]


@pytest.mark.parametrize("protocol", sorted(TABLES))
def test_the_cluster_conforms_case_by_case(
    cluster: World, protocol: NorthboundProtocol, capsys: pytest.CaptureFixture[str]
) -> None:
    status = qkms_kme(arguments(cluster, protocol))
    report = json.loads(capsys.readouterr().out)
    assert {case["requirement"]: case["reason"] for case in report["cases"] if case["outcome"] != "conforms"} == {}
    assert report["counts"] == {"conforms": len(TABLES[protocol]), "deviates": 0, "unknown": 0, "not run": 0}
    assert status == 0


async def test_a_key_carries_its_grade_and_the_status_says_what_may_be_drawn(cluster: World) -> None:
    first, second = cluster.nodes[:2]
    async with encryptor_of(cluster, A) as a, encryptor_of(cluster, B) as b:
        before = (await a.status(first, B)).body
        drawn = await a.draw(first, B, number=3, size=512, extension_mandatory=[{"qkms_grade": "QKD+PQC"}])
        held = (await a.status(first, B)).body
        under = sum(use.sae_key_count for use in cluster.operator.status(first).epoch_uses)
        collected = await b.collect(second, A, *drawn.keys)
        cluster.observer.wait_agreement()
        after = (await a.status(first, B)).body
    assert before["status_extension"] == {"grade": "QKD+PQC"}
    assert (before["max_SAE_ID_count"], before["max_key_count"]) == (8, 1000)
    counts = [status["stored_key_count"] for status in (before, held, after)]
    assert counts == [counts[0], counts[0] - 3, counts[0]]
    assert {len(key) for key in drawn.keys.values()} == {64}
    assert collected.keys == drawn.keys
    assert sum(use.sae_key_count for use in cluster.operator.status(first).epoch_uses) == under - 3
    for answer in (drawn, collected):
        about = answer.body["key_container_extension"]
        assert about["grade"] == "QKD+PQC"
        assert about["root_epoch"] >= 1
        assert [key["key_extension"] for key in answer.body["keys"]] == [about] * 3


async def test_asked_for_at_every_node_at_once_a_key_is_given_once(cluster: World) -> None:
    async with encryptor_of(cluster, A) as a, encryptor_of(cluster, B) as b:
        for round_ in range(8):
            drawn = await a.draw(cluster.nodes[round_ % 3], B, number=2)
            answers = await asyncio.gather(*(b.collect(node, A, *drawn.keys) for node in cluster.nodes * 2))
            given = [answer for answer in answers if answer.status == 200]
            assert [answer.keys for answer in given] == [drawn.keys]
            assert {(r.status, r.said) for r in answers if r not in given} == {(400, NOT_FOUND)}


async def test_each_of_several_slaves_gets_the_key_once_and_all_keys_or_none(cluster: World) -> None:
    first, second, third = cluster.nodes
    async with encryptor_of(cluster, A) as a, encryptor_of(cluster, B) as b, encryptor_of(cluster, C) as c:
        both = await a.draw(first, B, number=2, additional_slave_SAE_IDs=[C])
        for_b = await a.draw(second, B)
        ids = tuple(both.keys)
        assert (await c.collect(third, A, *ids)).keys == both.keys
        assert (await c.collect(second, A, *ids)).said == NOT_FOUND
        mixed = await b.collect(second, A, ids[0], "00000000-0000-4000-8000-000000000000")
        assert (mixed.status, mixed.said) == (400, NOT_FOUND)
        assert (await c.collect(second, A, *for_b.keys)).status == 401
        together = await b.collect(third, A, *ids, *for_b.keys)
        assert together.keys == both.keys | for_b.keys
        # Not allowed for one of the slaves: nobody gets anything.
        assert (await b.draw(first, A, additional_slave_SAE_IDs=[C])).status == 401


@pytest.mark.parametrize(
    ("slave", "body", "status", "said"),
    [
        (B, {"size": 100}, 400, "size shall be a multiple of 8"),
        (B, {"size": 2048}, 400, "size shall be from 64 to 1024"),
        (B, {"number": 129}, 400, "number shall be from 1 to 128"),
        (B, {"number": "many"}, 400, "the request does not fit the data format"),
        (B, {"novelty": 1}, 400, "the request does not fit the data format"),
        (
            B,
            {"extension_mandatory": [{"novelty": 1}]},
            400,
            "not all extension_mandatory parameters are supported",
        ),
        (B, {"extension_mandatory": [{"qkms_grade": 3}]}, 400, "qkms_grade shall be one of PQC, QKD, QKD+PQC"),
        (B, {"additional_slave_SAE_IDs": [B]}, 400, "a slave SAE is named twice"),
        (B, {"additional_slave_SAE_IDs": [f"sae:{i}" for i in range(9)]}, 400, "additional_slave_SAE_IDs shall"),
        (A, {}, 400, "master and slave SAE shall differ"),
        ("nobody", {}, 400, "SAE nobody is not known"),
        (D, {}, 401, ""),
    ],
)
async def test_what_is_refused_consumes_nothing(
    cluster: World, slave: str, body: dict[str, Any], status: int, said: str
) -> None:
    revision = cluster.operator.status(cluster.nodes[0]).revision
    async with encryptor_of(cluster, A) as a:
        answer = await a.draw(cluster.nodes[0], slave, **body)
    assert (answer.status, answer.said[: len(said)]) == (status, said)
    assert cluster.operator.status(cluster.nodes[0]).revision == revision


async def test_what_is_not_json_or_too_long_is_answered_400(cluster: World) -> None:
    async with encryptor_of(cluster, A) as a:
        url = f"{northbound_urls(cluster.cluster)[cluster.nodes[0]]}/api/v1/keys/{B}/enc_keys"
        async with httpx.AsyncClient(verify=client_context(a.files), trust_env=False) as http:
            answers = [await http.post(url, content=body) for body in (b"{", b'{"a":' * 40_000, b" " * 70_000)]
            unheard = await http.get(url.replace("enc_keys", "keys"))
    assert [answer.status_code for answer in answers] == [400, 400, 400]
    assert unheard.status_code == 404


async def test_what_policy_does_not_allow_is_answered_401_without_a_body_and_audited(cluster: World) -> None:
    node = cluster.nodes[1]
    async with encryptor_of(cluster, C) as c, encryptor_of(cluster, D) as d:
        refused = [await c.draw(node, A), await d.draw(node, A), await d.collect(node, A, str(identity))]
        refused += [await d.status(node, A)]
    assert [(answer.status, answer.said, answer.body) for answer in refused[:2]] == [(401, "", None)] * 2
    assert refused[2].status == 400  # not a UUID
    assert refused[3].status == 401
    records = cluster.operator.query_audit(
        AuditChain.CALLS, node=node, method="northbound/etsi014.draw", code="PERMISSION_DENIED"
    )
    seen = {(record.principal, record.resource) for record in records}
    assert {(identity(C).uri, f"saePairs/{C}/{A}"), (identity(D).uri, f"saePairs/{D}/{A}")} <= seen


async def test_policy_limits_the_rate_and_asks_for_a_grade(cluster: World) -> None:
    pair = f"saePairs/{D}/{A}"
    limited = Rule(("northbound.draw",), (pair,), rate_limit=RateLimit(per_minute=60, burst=2))
    weak = Rule(("northbound.draw",), (f"saePairs/{D}/{B}",), grades=(Grade.PQC,))
    allow(cluster, "limited", [limited, weak], D)
    cluster.observer.wait_agreement()
    async with encryptor_of(cluster, D) as d:
        answers = [await d.draw(cluster.nodes[2], A) for _ in range(3)]
        graded = await d.draw(cluster.nodes[2], B)
    assert [answer.status for answer in answers] == [200, 200, 503]
    assert answers[2].said == "RATE_LIMITED"
    assert (graded.status, graded.said) == (503, "GRADE_TOO_LOW")


async def test_each_key_is_given_once_to_each_party_though_nodes_and_kmes_are_killed(
    cluster: World, tmp_path: Path
) -> None:
    turns = killings(1, cluster.nodes, 2.0)
    nemesis = Nemesis(cluster, None, lambda _: None, seed=1)
    with Recorder(tmp_path / "history.jsonl") as recorder:
        run = await northbound_once(cluster, nemesis, recorder, turns, 2.0, KEYS, lambda _: None, seed=1)
    assert [op.call for op in recorder.ops] == [one.kind for one in run.attempts]
    assert run.breaches() == []
    assert [one.problem for one in run.happened if one.problem] == []
    assert {"KME" in name for name in killed(run.happened)} == {True, False}
    assert run.epochs
    assert len(run.given("draw")) >= KEYS
    assert len(run.replays) == len(run.given("collect"))
    # Keys that were drawn and did not arrive: no more than answers that were lost.
    assert len(run.reported) <= 5 * sum(one.undetermined for one in run.attempts)


def test_the_example_with_curl_runs(cluster: World, tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "cluster").symlink_to(cluster.cluster.layout.folder)
    [example] = re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", example], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    drawn, collected, once = done.stdout.splitlines()
    [[here], [there]] = (json.loads(line.split(maxsplit=2)[2])["keys"] for line in (drawn, collected))
    assert (here["key_ID"], here["key"]) == (there["key_ID"], there["key"])
    assert json.loads(once.removeprefix("and then "))["message"] == NOT_FOUND
