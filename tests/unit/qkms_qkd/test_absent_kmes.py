"""The client against KMEs that give no answer: silent, dripping, hanging up, away, or no KME at all."""

import asyncio
import socket
from pathlib import Path

import pytest
from aiohttp import web

from qkms_chaos.cluster.ports import free_ports
from qkms_qkd.etsi014.client import Etsi014Link
from qkms_qkd.tls import TlsFilesError

from .certificates import TestAuthority
from .deviant_kme import DeviantKme, failure, link_to


async def test_silence_ends_at_the_timeout(kme: DeviantKme, authority: TestAuthority) -> None:
    async def never(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    kme.respond = never
    link = link_to(authority, kme.port, timeout_s=0.5)
    error = await failure(link.draw())
    await link.close()
    assert error.code == "KME_UNREACHABLE"
    assert "0.5 s" in error.message


async def test_a_dripping_answer_ends_at_the_timeout(kme: DeviantKme, authority: TestAuthority) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.05)

    kme.respond = drip
    link = link_to(authority, kme.port, timeout_s=0.5)
    assert (await failure(link.draw())).code == "KME_UNREACHABLE"
    await link.close()


async def test_a_connection_closed_in_the_answer(kme: DeviantKme) -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    kme.respond = hang_up
    assert (await failure(kme.link.draw())).code in ("KME_BAD_ANSWER", "KME_UNREACHABLE")


async def test_nobody_listens(authority: TestAuthority) -> None:
    [port] = free_ports(1)
    link = link_to(authority, port)
    error = await failure(link.draw())
    await link.close()
    assert error.code == "KME_UNREACHABLE"
    assert str(port) in error.message


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
async def test_a_listener_that_does_not_speak_tls(authority: TestAuthority, greeting: bytes) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await writer.drain()
        writer.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with await asyncio.start_server(greet, sock=listener):
            link = link_to(authority, listener.getsockname()[1])
            assert (await failure(link.draw())).code in ("KME_UNAUTHORIZED", "KME_UNREACHABLE")
            await link.close()


async def test_a_missing_ca_file_is_named(tmp_path: Path, authority: TestAuthority) -> None:
    leaf = authority.issue("node", "node-1")
    with pytest.raises(TlsFilesError, match=r"absent\.pem"):
        Etsi014Link(
            kme_id="kme-x",
            url="https://127.0.0.1:1",
            local_sae="node-1",
            peer_sae="node-2",
            ca=tmp_path / "absent.pem",
            certificate=leaf.certificate,
            private_key=leaf.private_key,
        )
