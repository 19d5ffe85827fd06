"""A KME over real TLS whose answers each test sets, and a link to it."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from qkms_chaos.cluster.ports import free_ports
from qkms_qkd.errors import LinkError
from qkms_qkd.etsi014.client import Etsi014Link

from .certificates import TestAuthority

IDS = ["0e7a1b9c-5d24-4a8f-9c6e-1f2a3b4c5d6e", "1f8b2cad-6e35-4b90-8d7f-2a3b4c5d6e7f"]
KEYS = [bytes([i]) * 32 for i in (1, 2)]
Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class DeviantKme:
    """One listener whose answer each test sets; remembers what was asked."""

    port: int
    link: Etsi014Link
    respond: Respond
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    def answers(self, value: object, status: int = 200) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.answers_raw(body, "application/json", status)

    def answers_raw(self, body: bytes, kind: str, status: int, **headers: str) -> None:
        async def respond(_: web.Request) -> web.StreamResponse:
            return web.Response(body=body, status=status, headers={"Content-Type": kind, **headers})

        self.respond = respond


def link_to(authority: TestAuthority, port: int, timeout_s: float = 5.0) -> Etsi014Link:
    leaf = authority.issue("node", "node-1")
    return Etsi014Link(
        kme_id="kme-x",
        url=f"https://127.0.0.1:{port}/",
        local_sae="node-1",
        peer_sae="node 2/ä",
        ca=leaf.ca,
        certificate=leaf.certificate,
        private_key=leaf.private_key,
        timeout_s=timeout_s,
    )


@asynccontextmanager
async def deviant_kme(authority: TestAuthority) -> AsyncIterator[DeviantKme]:
    """A running one."""
    [port] = free_ports(1)
    deviant = DeviantKme(port, link_to(authority, port), lambda _: asyncio.sleep(0, web.Response()))

    async def answer(request: web.Request) -> web.StreamResponse:
        text = await request.text()
        deviant.asked.append((request.method, request.raw_path, json.loads(text) if text else None))
        return await deviant.respond(request)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    leaf = authority.issue("kme", "kme-x")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(leaf.ca))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(leaf.certificate, leaf.private_key)
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    try:
        yield deviant
    finally:
        await deviant.link.close()
        await runner.cleanup()


def container(*numbers: int, **changes: object) -> dict[str, Any]:
    """An answer of enc_keys with these of KEYS, each with the changes."""
    return {
        "keys": [
            {"key_ID": IDS[i], "key": base64.b64encode(KEYS[i]).decode(), **changes} for i in numbers or (0, 1)
        ]
    }


async def failure(attempt: Awaitable[object]) -> LinkError:
    """The LinkError that the attempt ends with; it names the KME."""
    with pytest.raises(LinkError) as caught:
        await attempt
    assert "kme-x" in str(caught.value)
    assert caught.value.kme == "kme-x"
    return caught.value
