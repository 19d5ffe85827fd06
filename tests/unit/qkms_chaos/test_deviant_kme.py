"""The lying KME, as a real process before a small honest one: faithful by default, false as told."""

import asyncio
import base64
import itertools
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import tomli_w
from aiohttp import web

from qkms_chaos.cluster.ports import free_ports
from qkms_chaos.cluster.process import Process
from qkms_node.pki import Authority, Identity, Material

KEY = bytes(range(32))


class Deviant:
    """The process, and a client with the node's certificate."""

    def __init__(self, process: Process, client: httpx.AsyncClient) -> None:
        self.process = process
        self.client = client

    async def deviate(self, deviation: str) -> int:
        return (await self.client.put("/deviation", json={"deviation": deviation})).status_code

    async def key(self) -> bytes:
        return base64.b64decode((await self.delivery())["key"])

    async def delivery(self) -> dict[str, str]:
        answer = await self.client.post("/api/v1/keys/node-2/enc_keys", json={"number": 1})
        key: dict[str, str] = answer.json()["keys"][0]
        return key


@asynccontextmanager
async def honest_kme(kme: Material, port: int) -> AsyncIterator[None]:
    async def enc_keys(request: web.Request) -> web.Response:
        peer = request.get_extra_info("peercert")
        assert request.path == "/api/v1/keys/node-2/enc_keys"
        assert await request.json() == {"number": 1}
        assert ("URI", "spiffe://qkms.dev/node/node-1") in peer["subjectAltName"]
        number = next(numbers)
        return web.json_response({"keys": [{"key_ID": str(number), "key": base64.b64encode(KEY).decode()}]})

    numbers = itertools.count(1)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(kme.ca))
    tls.load_cert_chain(kme.certificate, kme.private_key)
    tls.verify_mode = ssl.CERT_REQUIRED
    routes = web.Application()
    routes.router.add_post("/{path:.*}", enc_keys)
    runner = web.AppRunner(routes)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    yield
    await runner.cleanup()


@pytest.fixture
async def deviant(tmp_path: Path) -> AsyncIterator[Deviant]:
    authority = Authority(tmp_path / "pki")
    kme, node = authority.issue(Identity("kme", "kme-1")), authority.issue(Identity("node", "node-1"))
    front, back = free_ports(2)
    config = tmp_path / "deviant.toml"
    settings = {
        "listen": f"127.0.0.1:{front}",
        "upstream": f"https://127.0.0.1:{back}",
        **kme.table(),
        "node_certificate": str(node.certificate),
        "node_private_key": str(node.private_key),
    }
    config.write_text(tomli_w.dumps(settings))
    process = Process(
        "deviant-kme",
        [sys.executable, "-m", "qkms_chaos.deviant_kme", "--config", str(config)],
        tmp_path / "deviant.log",
    )
    tls = ssl.create_default_context(cafile=str(node.ca))
    tls.load_cert_chain(node.certificate, node.private_key)
    async with (
        honest_kme(kme, back),
        httpx.AsyncClient(base_url=f"https://127.0.0.1:{front}", verify=tls, timeout=5) as client,
    ):
        process.start()
        try:
            await _listening(process, front)
            yield Deviant(process, client)
        finally:
            process.terminate()


async def _listening(process: Process, port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            process.require_running()
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


async def test_it_is_faithful_until_told_otherwise(deviant: Deviant) -> None:
    assert await deviant.key() == KEY


async def test_it_deviates_as_told_and_returns_to_the_truth(deviant: Deviant) -> None:
    await deviant.deviate("wrong_length")
    assert await deviant.key() == KEY[:-1]
    await deviant.deviate("wrong_key")
    wrong = await deviant.key()
    assert len(wrong) == 32
    assert wrong != KEY
    await deviant.deviate("html")
    page = await deviant.client.get("/api/v1/keys/node-2/status")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    await deviant.deviate("error_500")
    assert (await deviant.client.get("/api/v1/keys/node-2/status")).status_code == 500
    await deviant.deviate("hang_up")
    with pytest.raises(httpx.RemoteProtocolError):
        await deviant.client.get("/api/v1/keys/node-2/status")
    await deviant.deviate("silence")
    with pytest.raises(httpx.ReadTimeout):
        await deviant.client.get("/api/v1/keys/node-2/status", timeout=0.3)
    await deviant.deviate("none")
    assert await deviant.key() == KEY


async def test_it_delivers_a_key_again(deviant: Deviant) -> None:
    assert [(await deviant.delivery())["key_ID"] for _ in range(2)] == ["1", "2"]
    await deviant.deviate("redeliver")
    assert [(await deviant.delivery())["key_ID"] for _ in range(2)] == ["2", "2"]
    await deviant.deviate("none")
    assert (await deviant.delivery())["key_ID"] == "5"


async def test_a_deviation_that_does_not_exist_is_refused(deviant: Deviant) -> None:
    assert await deviant.deviate("telepathy") == 400
    assert await deviant.key() == KEY
