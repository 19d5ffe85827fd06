"""`qkms-node unseal`: brings the secret to the node that runs on this machine, over its own gRPC listener.

Calls with the node's own certificate, which may unseal that node and do
nothing else. The secret is typed unseen or read from a descriptor or file:
never an argument, never from the environment.
"""

import getpass
import os
import sys
from pathlib import Path
from typing import Any

import grpc

from qkms.v1 import cluster_pb2 as pb
from qkms.v1 import cluster_pb2_grpc
from qkms_node.config import Config

TIMEOUT_S = 60.0
MAX_SECRET_BYTES = 4096


class UnsealFailed(Exception):
    """The node stays sealed; the message says why."""


def unseal(config: Config, secret_file: Path | None, secret_fd: int | None) -> str:
    """Unseals the running node; what came of it, in words. Raises UnsealFailed."""
    tls = config.tls
    credentials = grpc.ssl_channel_credentials(
        tls.ca.read_bytes(), tls.private_key.read_bytes(), tls.certificate.read_bytes()
    )
    address = config.me.rpc_address
    with grpc.secure_channel(address, credentials) as channel:
        stub = cluster_pb2_grpc.ClusterServiceStub(channel)
        try:
            response = stub.Unseal(
                pb.UnsealRequest(secret=_secret(config, secret_file, secret_fd)), timeout=TIMEOUT_S
            )
        except grpc.RpcError as error:
            raise UnsealFailed(f"{config.node.id} at {address}: {_details(error)}") from None
    return f"{config.node.id}: " + ("unsealed" if response.changed else "was open already")


def _details(error: Any) -> str:
    # What gRPC raises for a failed call is a grpc.Call too; its type does not say so.
    return str(error.details() or error.code().name)


def _secret(config: Config, secret_file: Path | None, secret_fd: int | None) -> bytes:
    if secret_file is not None:
        return _line(secret_file.read_bytes())
    if secret_fd is not None:
        with os.fdopen(secret_fd, "rb") as file:
            return _line(file.read(MAX_SECRET_BYTES))
    if config.seal.mode in ("keyfile", "peers"):
        return b""
    what = "Passphrase" if config.seal.mode == "passphrase" else "PIN"
    if sys.stdin.isatty():
        return getpass.getpass(f"{what}: ").encode()
    return _line(sys.stdin.buffer.read(MAX_SECRET_BYTES))


def _line(data: bytes) -> bytes:
    return data.split(b"\n", 1)[0].removesuffix(b"\r")
