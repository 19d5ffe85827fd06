"""The Toxiproxy server as a child process, and its Python client with what it lacks.

`toxiproxy-python` 0.1.1 keeps the server's address in a class, so that a process can speak to one server only;
waits for ever; takes a 5xx for success; and `Toxiproxy.create` asks for all proxies each time. Its HTTP layer is
replaced by one that has a time limit and raises for every status from 400 on; what it builds on that stays.
"""

import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import requests
import toxiproxy.proxy
import toxiproxy.server
from toxiproxy import Proxy, Toxiproxy
from toxiproxy.api import APIConsumer

from qkms_chaos.cluster.network import HOST
from qkms_chaos.cluster.ports import free_ports
from qkms_chaos.cluster.process import Process
from qkms_chaos.cluster.waits import NotYet
from qkms_chaos.faults.network import Unsupported

PROGRAM = "toxiproxy-server"
TOOLS = Path(__file__).resolve().parents[3] / ".tools" / "bin"
TIMEOUT_S = 5.0


class _Requests(APIConsumer):  # type: ignore[misc]  # the library is untyped
    """The library's way to the server."""

    @classmethod
    def get(cls, url: str, params: object = None, **given: Any) -> requests.Response:
        return cls._answer("GET", url, params=params, **given)

    @classmethod
    def post(cls, url: str, data: object = None, json: object = None, **given: Any) -> requests.Response:
        return cls._answer("POST", url, data=data, json=json, **given)

    @classmethod
    def delete(cls, url: str, **given: Any) -> requests.Response:
        return cls._answer("DELETE", url, **given)

    @classmethod
    def _answer(cls, method: str, url: str, **given: Any) -> requests.Response:
        address = f"http://{APIConsumer.host}:{APIConsumer.port}{url}"
        answer = requests.request(method, address, timeout=TIMEOUT_S, **given)
        answer.raise_for_status()
        return answer


def program() -> str:
    """Where the server is. Raises Unsupported."""
    path = os.environ.get("QKMS_TOXIPROXY") or shutil.which(PROGRAM) or shutil.which(PROGRAM, path=str(TOOLS))
    if path is None:
        raise Unsupported(f"{PROGRAM} is not installed: run `make toxiproxy`, or name it in QKMS_TOXIPROXY")
    return path


class ToxiproxyServer:
    """A server of its own, running while it is entered; one at a time in a process. Raises Unsupported."""

    _taken = False

    def __init__(self, log: Path) -> None:
        self._log = log
        self._ending = ExitStack()

    def __enter__(self) -> "ToxiproxyServer":
        if ToxiproxyServer._taken:
            raise Unsupported("toxiproxy-python serves one server in a process; end the other run first")
        [port] = free_ports(1)
        command = (program(), "-host", HOST, "-port", str(port))
        process = Process("toxiproxy", command, self._log)
        self._ending.callback(process.kill)
        process.start()
        ToxiproxyServer._taken = True
        self._ending.callback(self._give_up)
        toxiproxy.proxy.APIConsumer = toxiproxy.server.APIConsumer = _Requests
        self._api = Toxiproxy()
        self._api.update_api_consumer(HOST, port)
        APIConsumer.host, APIConsumer.port = HOST, port
        process.wait_ready(self._probe)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.close()

    @staticmethod
    def _give_up() -> None:
        ToxiproxyServer._taken = False

    def _probe(self) -> None:
        try:
            self._api.proxies()
        except requests.RequestException as error:
            raise NotYet(f"{type(error).__name__}") from None

    def create(self, name: str, listen: str, upstream: str) -> Proxy:
        """A proxy from `listen` to `upstream`, both host:port. Raises requests.RequestException."""
        made = _Requests.post("/proxies", json={"name": name, "listen": listen, "upstream": upstream}).json()
        return Proxy(**made)
