"""The client against KMEs that deviate as those in the field do: the right keys or a clear error, over TLS."""

import asyncio
import base64
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from qkms_qkd.errors import LinkError
from qkms_qkd.etsi014.client import MAX_ANSWER_BYTES, Etsi014Link

from .certificates import TestAuthority
from .kme_network import free_ports

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


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return TestAuthority(tmp_path_factory.mktemp("pki"))


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


@pytest.fixture
async def kme(authority: TestAuthority) -> AsyncIterator[DeviantKme]:
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
    yield deviant
    await deviant.link.close()
    await runner.cleanup()


def container(*numbers: int, **changes: object) -> dict[str, Any]:
    return {
        "keys": [
            {"key_ID": IDS[i], "key": base64.b64encode(KEYS[i]).decode(), **changes} for i in numbers or (0, 1)
        ]
    }


async def failure(attempt: Awaitable[object]) -> LinkError:
    with pytest.raises(LinkError) as caught:
        await attempt
    assert "kme-x" in str(caught.value)
    assert caught.value.kme == "kme-x"
    return caught.value


async def test_what_is_sent_is_the_standard_to_the_letter(kme: DeviantKme) -> None:
    kme.answers(container())
    await kme.link.draw(2)
    await kme.link.collect(IDS)
    kme.answers({"key_size": 256, "stored_key_count": 3})
    await kme.link.status()
    base = "/api/v1/keys/node%202%2F%C3%A4"
    assert kme.asked == [
        ("POST", f"{base}/enc_keys", {"number": 2, "size": 256}),
        ("POST", f"{base}/dec_keys", {"key_IDs": [{"key_ID": key_id} for key_id in IDS]}),
        ("GET", f"{base}/status", None),
    ]


async def test_keys_in_another_order_and_case_are_put_right(kme: DeviantKme) -> None:
    answer = container(1, 0)
    for key in answer["keys"]:
        key["key_ID"] = key["key_ID"].upper()
    kme.answers(answer)
    assert [key.key for key in await kme.link.collect(IDS)] == KEYS
    assert [key.key_id for key in await kme.link.collect(IDS)] == IDS


async def test_unknown_fields_are_read_over(kme: DeviantKme) -> None:
    kme.answers(container(0, surprise=[1], key_extension="text") | {"key_container_extension": 7})
    [key] = await kme.link.draw()
    assert (key.key, key.age_s) == (KEYS[0], None)


@pytest.mark.parametrize("length", [0, 1, 16, 31, 33, 64])
@pytest.mark.parametrize("operation", ["draw", "collect"])
async def test_no_key_of_another_length_is_accepted(kme: DeviantKme, length: int, operation: str) -> None:
    kme.answers(container(0, key=base64.b64encode(b"\x07" * length).decode()))
    error = await failure(kme.link.draw() if operation == "draw" else kme.link.collect(IDS[:1]))
    assert error.code == "KEY_WRONG_LENGTH"


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"message": "one or more keys specified are not found on KME"}, "KEY_NOT_FOUND"),
        (422, {"detail": "Key not found"}, "KEY_NOT_FOUND"),
        (500, {"detail": [{"msg": "key does not exist"}]}, "KEY_NOT_FOUND"),
        (404, {"message": "Not Found"}, "KEY_NOT_FOUND"),
        (503, {"message": "Not enough keys", "details": []}, "STORE_EXHAUSTED"),
        (400, {"message": "insufficient key material"}, "STORE_EXHAUSTED"),
        (503, {"message": "later", "details": [{"code": "LINK_DOWN"}]}, "LINK_DOWN"),
        (503, {"message": "later", "details": [{"code": "ROOT"}, 7, None]}, "KME_BAD_ANSWER"),
        (503, {"message": "later", "details": "none"}, "KME_BAD_ANSWER"),
        (400, {"message": "size shall be a multiple of 8"}, "KME_REFUSED"),
        (422, {"detail": "size"}, "KME_REFUSED"),
        (500, {"message": "oops"}, "KME_BAD_ANSWER"),
        (500, {}, "KME_BAD_ANSWER"),
        (500, [], "KME_BAD_ANSWER"),
        (400, b"", "KME_BAD_ANSWER"),
        (500, b"<html>oops</html>", "KME_BAD_ANSWER"),
        (401, b"", "KME_UNAUTHORIZED"),
        (403, {"message": "no"}, "KME_UNAUTHORIZED"),
        (302, b"", "KME_BAD_ANSWER"),
        (204, b"", "KME_BAD_ANSWER"),
    ],
)
async def test_refusals_however_they_are_dressed(kme: DeviantKme, status: int, body: object, code: str) -> None:
    kme.answers(body, status)
    error = await failure(kme.link.collect(IDS))
    assert error.code == code
    if code not in ("KME_UNAUTHORIZED", "LINK_DOWN"):
        assert str(status) in error.message


@pytest.mark.parametrize(
    "body",
    [
        b"<!DOCTYPE html><html>Login</html>",
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b'{"keys": null}',
        b'{"keys": [null]}',
        b'{"keys": [{"key_ID": "a"}]}',
        b'{"keys": [{"key_ID": 1, "key": []}]}',
        b'{"keys": []}',
        b'{"keys": [{"key_ID": "a", "key": "not base64!"}]}',
        b'{"keys": [{"key_ID": "", "key": ""}]}',
        b'{"keys": [{"key_ID": "a\\nb", "key": ""}]}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
    ],
)
async def test_an_answer_of_another_form(kme: DeviantKme, body: bytes) -> None:
    kme.answers(body)
    assert (await failure(kme.link.draw())).code == "KME_BAD_ANSWER"


async def test_errors_quote_little_and_nothing_unprintable(kme: DeviantKme) -> None:
    kme.answers({"message": "\x1b[31m" + "long\n" * 1000}, 500)
    text = str(await failure(kme.link.draw()))
    assert text.isprintable()
    assert len(text) < 400


async def test_more_or_fewer_keys_than_asked_for(kme: DeviantKme) -> None:
    kme.answers(container(0, 1))
    assert (await failure(kme.link.draw())).code == "KME_BAD_ANSWER"
    assert (await failure(kme.link.draw(3))).code == "KME_BAD_ANSWER"
    assert (await failure(kme.link.collect(IDS[:1]))).code == "KME_BAD_ANSWER"


async def test_a_missing_key_is_named(kme: DeviantKme) -> None:
    kme.answers(container(0))
    error = await failure(kme.link.collect(IDS))
    assert error.code == "KEY_NOT_FOUND"
    assert IDS[1] in error.message


async def test_a_key_id_given_twice(kme: DeviantKme) -> None:
    kme.answers(container(0, 0))
    assert (await failure(kme.link.draw(2))).code == "KEY_REPLAYED"


async def test_an_endless_answer_is_cut_off(kme: DeviantKme) -> None:
    kme.answers_raw(b" " * (MAX_ANSWER_BYTES + 1), "application/json", 200)
    assert (await failure(kme.link.draw())).code == "KME_BAD_ANSWER"


async def test_a_compressed_answer_is_refused(kme: DeviantKme) -> None:
    kme.answers_raw(b"\x1f\x8b", "application/json", 200, **{"Content-Encoding": "gzip"})
    assert (await failure(kme.link.draw())).code == "KME_BAD_ANSWER"


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


async def test_status_with_the_least_a_kme_may_say(kme: DeviantKme) -> None:
    kme.answers({"key_size": "256", "stored_key_count": "3", "status_extension": []})
    status = await kme.link.status()
    assert (status.key_size, status.stored_key_count, status.source_kme) == (256, 3, "kme-x")
    assert (status.qber, status.skr_bps, status.up) == (None, None, None)


@pytest.mark.parametrize(
    ("extension", "expected"),
    [
        ({"qber": 0.05, "skr_bps": 7, "link_state": "up"}, (0.05, 7.0, True)),
        ({"qber": None, "skr_bps": 0.0, "link_state": "down"}, (None, 0.0, False)),
        ({"qber": "low", "skr_bps": True, "link_state": ["up"]}, (None, None, None)),
    ],
)
async def test_status_extension(kme: DeviantKme, extension: object, expected: tuple[object, ...]) -> None:
    kme.answers({"key_size": 256, "stored_key_count": 3, "status_extension": extension})
    status = await kme.link.status()
    assert (status.qber, status.skr_bps, status.up) == expected


async def test_a_missing_ca_file_is_named(tmp_path: Path, authority: TestAuthority) -> None:
    leaf = authority.issue("node", "node-1")
    with pytest.raises(Exception, match=r"absent\.pem"):
        Etsi014Link(
            kme_id="kme-x",
            url="https://127.0.0.1:1",
            local_sae="node-1",
            peer_sae="node-2",
            ca=tmp_path / "absent.pem",
            certificate=leaf.certificate,
            private_key=leaf.private_key,
        )
