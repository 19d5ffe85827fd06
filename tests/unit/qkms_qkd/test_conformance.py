"""The conformance tables: our KME conforms to both protocols, and a KME that lies is found out."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from qkms_chaos.cluster.ports import free_ports
from qkms_chaos.deviant_kme import DeviantKme, Settings
from qkms_qkd.conformance.command import TABLES
from qkms_qkd.conformance.runner import Bench, Party, Verdict, run
from qkms_qkd.kme.__main__ import main
from qkms_qkd.tls import TlsFiles, server_context

from .certificates import Leaf
from .kme_network import KmeNetwork

PROTOCOLS = sorted(TABLES)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KmeNetwork]:
    """Two KMEs that serve both protocols."""
    both = KmeNetwork(tmp_path_factory.mktemp("both"), 2, skip=True)
    try:
        both.start()
        both.wait_stored("kme-1", "kme-2", 100)
        yield both
    finally:
        both.stop_all()


def url(network: KmeNetwork, protocol: str, kme: str) -> str:
    return network.skip_url(kme) if protocol == "skip" else network.url(kme)


def arguments(network: KmeNetwork, protocol: str, *, others: bool = True) -> list[str]:
    local = network.node("kme-1")
    words = ["conformance", "--protocol", protocol, "--ca", str(local.ca), "--local", "node-1", "--peer", "node-2"]
    words += ["--certificate", str(local.certificate), "--private-key", str(local.private_key)]
    if others:
        words += ["--peer-url", url(network, protocol, "kme-2")]
        bystander = network.authority.issue("node", "bystander")
        for name, leaf in (("peer", network.node("kme-2")), ("bystander", bystander)):
            words += [
                f"--{name}-certificate",
                str(leaf.certificate),
                f"--{name}-private-key",
                str(leaf.private_key),
            ]
    return [*words, url(network, protocol, "kme-1")]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_our_kme_conforms_case_by_case(
    network: KmeNetwork, protocol: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main([*arguments(network, protocol), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert {case["requirement"]: case["reason"] for case in report["cases"] if case["outcome"] != "conforms"} == {}
    assert report["counts"] == {"conforms": len(TABLES[protocol]), "deviates": 0, "unknown": 0, "not run": 0}
    assert status == 0


def test_cases_without_their_party_are_not_run_and_not_counted_as_conforming(network: KmeNetwork) -> None:
    command = [sys.executable, "-m", "qkms_qkd.kme", *arguments(network, "skip", others=False)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "needs --peer-url and the peer's certificate" in done.stdout
    assert done.stdout.rstrip().endswith("0 deviates, 0 unknown, 4 not run")


def test_a_kme_that_gives_no_answer_is_unknown_not_conforming(
    network: KmeNetwork, capsys: pytest.CaptureFixture[str]
) -> None:
    [port] = free_ports(1)
    words = arguments(network, "skip")
    assert main([*words[:-1], f"https://127.0.0.1:{port}", "--json"]) == 1
    counts = json.loads(capsys.readouterr().out)["counts"]
    assert counts == {"conforms": 0, "deviates": 0, "unknown": len(TABLES["skip"]), "not run": 0}


def test_what_the_caller_must_mend_ends_with_2(network: KmeNetwork, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments(network, "skip")[:-1], "http://127.0.0.1:1"]) == 2
    words = arguments(network, "skip", others=False)
    words[words.index("--ca") + 1] = "absent.pem"
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "must begin with https://" in said
    assert "absent.pem" in said


def files(leaf: Leaf) -> dict[str, str]:
    return {"ca": str(leaf.ca), "certificate": str(leaf.certificate), "private_key": str(leaf.private_key)}


@asynccontextmanager
async def lying(network: KmeNetwork, protocol: str, deviation: str) -> AsyncIterator[str]:
    """The URL of a proxy before kme-1 that deviates so."""
    [port] = free_ports(1)
    node, kme = network.node("kme-1"), network.authority.issue("kme", "kme-1")
    settings = Settings(
        listen=f"127.0.0.1:{port}",
        upstream=url(network, protocol, "kme-1"),
        **files(kme),
        node_certificate=str(node.certificate),
        node_private_key=str(node.private_key),
        deviation=deviation,
    )
    runner = web.AppRunner(DeviantKme(settings).application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    context = server_context(TlsFiles(kme.ca, kme.certificate, kme.private_key))
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    try:
        yield f"https://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


def party(sae: str, place: str, leaf: Leaf) -> Party:
    return Party(sae, place, TlsFiles(leaf.ca, leaf.certificate, leaf.private_key))


async def verdicts(network: KmeNetwork, protocol: str, deviation: str) -> list[Verdict]:
    async with lying(network, protocol, deviation) as place:
        local, peer = network.node("kme-1"), network.node("kme-2")
        bench = Bench(
            party("node-1", place, local), "node-2", party("node-2", url(network, protocol, "kme-2"), peer)
        )
        try:
            return await run(TABLES[protocol], bench)
        finally:
            await bench.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("deviation", "found"),
    [
        ("wrong_length", "bits"),
        ("wrong_key", "got another key under this"),
        ("redeliver", "same key"),
        ("html", "text/html"),
        ("error_500", "answered 500 instead of 200"),
    ],
)
async def test_a_lie_is_found_out(network: KmeNetwork, protocol: str, deviation: str, found: str) -> None:
    told = await verdicts(network, protocol, deviation)
    reasons = [verdict.reason for verdict in told if verdict.outcome == "deviates"]
    assert any(found in reason for reason in reasons), told


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_proxy_itself_is_no_deviation(network: KmeNetwork, protocol: str) -> None:
    told = await verdicts(network, protocol, "none")
    assert [verdict for verdict in told if verdict.outcome == "deviates"] == []


def test_014_and_skip_never_hand_out_the_same_key(network: KmeNetwork) -> None:
    network.wait_stored("kme-1", "kme-2", 50)
    node, there = network.node("kme-1"), network.node("kme-2")
    query = {"remoteSystemID": "node-2"}
    with network.http(node, network.skip_url("kme-1")) as skip, network.http(node, network.url("kme-1")) as etsi:
        by_skip = [skip.get("/key", params=query).json() for _ in range(20)]
        by_014 = [etsi.get("/api/v1/keys/node-2/enc_keys").json()["keys"][0] for _ in range(20)]
    ids = {key["keyId"] for key in by_skip} | {key["key_ID"].replace("-", "") for key in by_014}
    assert len(ids) == 40
    with network.http(there, network.url("kme-2")) as etsi, network.http(there, network.skip_url("kme-2")) as skip:
        # A key drawn by one protocol may be collected by the other, and then by neither.
        path = f"/key/{by_014[0]['key_ID'].replace('-', '')}"
        assert skip.get(path, params={"remoteSystemID": "node-1"}).status_code == 200
        again = etsi.get("/api/v1/keys/node-1/dec_keys", params={"key_ID": by_014[0]["key_ID"]})
        assert again.status_code == 400


def test_without_its_section_there_is_no_skip(network: KmeNetwork, tmp_path: Path) -> None:
    with network.http(network.node("kme-1"), network.url("kme-1")) as etsi:
        assert etsi.get("/capabilities").status_code == 404


def test_a_stranger_and_an_empty_store_get_no_key(network: KmeNetwork) -> None:
    query = {"remoteSystemID": "node-2"}
    with network.http(network.operator, network.skip_url("kme-1")) as http:
        for path in ("/capabilities", "/key", "/entropy"):
            answer = http.get(path, params=query)
            assert (answer.status_code, answer.content) == (401, b"")
    network.set_faults("kme-1", "kme-2", cut=True)
    try:
        with network.http(network.node("kme-1"), network.skip_url("kme-1")) as http:
            answers = [http.get("/key", params=query) for _ in range(250)]
        assert {answer.status_code for answer in answers} == {200, 500}
        assert answers[-1].json()["details"] == [{"code": "STORE_EXHAUSTED"}]
    finally:
        network.set_faults("kme-1", "kme-2")
