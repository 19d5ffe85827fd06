"""The relay relays, and reads the negotiated group from real handshakes."""

import asyncio
import socket
import ssl
import threading
from pathlib import Path

import grpc
import pytest

from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.wiretap import X25519, X25519MLKEM768, Wiretap, negotiated_group
from qkms_node.pki import Authority, Identity, Material


def material(folder: Path) -> Material:
    return Authority(folder).issue(Identity("node", "node-1"))


def tls_echo(files: Material, highest: ssl.TLSVersion, group: str) -> socket.socket:
    """A TLS server that echoes one message; returns its listener."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.private_key)
    context.maximum_version = highest
    context.set_ecdh_curve(group)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        plain, _ = listener.accept()
        with plain, context.wrap_socket(plain, server_side=True) as connection:
            connection.sendall(connection.recv(100))

    threading.Thread(target=serve, daemon=True).start()
    return listener


def say_hello(files: Material, address: str) -> bytes:
    host, port = address.split(":")
    context = ssl.create_default_context(cafile=str(files.ca))
    with (
        socket.create_connection((host, int(port)), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(b"hello")
        return connection.recv(100)


@pytest.mark.parametrize(("curve", "group"), [("X25519", X25519), ("secp384r1", 0x0018)])
def test_the_group_of_a_handshake_is_read_also_after_a_retry(tmp_path: Path, curve: str, group: int) -> None:
    files = material(tmp_path)
    # The client offers a share for X25519 alone, so P-384 takes a HelloRetryRequest.
    with tls_echo(files, ssl.TLSVersion.TLSv1_3, curve) as server, Wiretap(server.getsockname()) as tap:
        assert say_hello(files, tap.address) == b"hello"
        [recording] = tap.recordings
        assert negotiated_group(recording.from_server) == group
        assert b"hello" not in recording.from_client


def test_tls_1_2_has_no_key_share(tmp_path: Path) -> None:
    files = material(tmp_path)
    with tls_echo(files, ssl.TLSVersion.TLSv1_2, "prime256v1") as server, Wiretap(server.getsockname()) as tap:
        say_hello(files, tap.address)
        with pytest.raises(ValueError, match=r"no TLS 1\.3 ServerHello"):
            negotiated_group(tap.recordings[0].from_server)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"\x16\x03\x03\xff"])
def test_what_is_not_tls_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no TLS"):
        negotiated_group(data)


async def test_grpc_peers_agree_on_the_hybrid_group(tmp_path: Path) -> None:
    files = material(tmp_path)
    server = grpc.aio.server()
    pair = [(files.private_key.read_bytes(), files.certificate.read_bytes())]
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(pair))
    await server.start()
    credentials = grpc.ssl_channel_credentials(files.ca.read_bytes())
    with Wiretap(("127.0.0.1", port)) as tap:
        async with grpc.aio.secure_channel(tap.address, credentials) as channel:
            await asyncio.wait_for(channel.channel_ready(), 10)
        assert negotiated_group(tap.recordings[0].from_server) == X25519MLKEM768
    await server.stop(None)


def test_leaving_the_tap_closes_its_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with Wiretap(server.getsockname()) as tap:
            host, port = tap.address.split(":")
            client = socket.create_connection((host, int(port)), timeout=10)
            wait_for("the connection to be recorded", lambda: _recorded(tap), 10)
        with client:
            assert client.recv(1) == b""


def _recorded(tap: Wiretap) -> None:
    if not tap.recordings:
        raise NotYet("none")
