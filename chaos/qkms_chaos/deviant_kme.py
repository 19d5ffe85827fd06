"""A KME that lies: a proxy before a real one which alters its answers as told.

    python -m qkms_chaos.deviant_kme --config FILE

Speaks mutual TLS with the real KME's certificate towards the node, so that the
node has no reason to doubt it, and passes requests on in the node's name. How
it deviates is set while it runs, with PUT /deviation {"deviation": NAME} by
anyone with a certificate of the CA. Keys are altered in the answers
of ETSI GS QKD 014 and of SKIP. A test tool: it holds private keys of two
others, which nothing else in a deployment ever does.
"""

import asyncio
import base64
import ssl
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from aiohttp import ClientSession, web

DEVIATIONS = ("none", "wrong_length", "wrong_key", "redeliver", "html", "error_500", "silence", "hang_up")


@dataclass(frozen=True)
class Settings:
    """`listen` host:port; `upstream` the real KME's https URL; PEM paths of either side."""

    listen: str
    upstream: str
    ca: str
    certificate: str
    private_key: str
    node_certificate: str
    node_private_key: str
    deviation: str = "none"


class DeviantKme:
    """The proxy's two handlers and its present deviation."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._deviation = _known(settings.deviation)
        # The last delivery of each path, to be delivered again.
        self._delivered: dict[str, list[dict[str, Any]]] = {}
        self._upstream_tls = ssl.create_default_context(cafile=settings.ca)
        self._upstream_tls.load_cert_chain(settings.node_certificate, settings.node_private_key)

    def application(self) -> web.Application:
        """The routes."""
        routes = web.Application()
        routes.router.add_put("/deviation", self.change)
        routes.router.add_route("*", "/{path:.*}", self.answer)
        return routes

    async def change(self, request: web.Request) -> web.Response:
        """Takes up another deviation."""
        try:
            self._deviation = _known(str((await request.json())["deviation"]))
        except (ValueError, KeyError, TypeError) as error:
            return web.json_response({"message": f"deviation: {error}"}, status=400)
        return web.json_response({"deviation": self._deviation})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The real KME's answer, or what the deviation makes of it."""
        match self._deviation:
            case "html":
                page = "<html><body><h1>It works!</h1></body></html>"
                return web.Response(text=page, content_type="text/html")
            case "error_500":
                return web.json_response({"detail": "internal error"}, status=500)
            case "silence":
                await asyncio.Event().wait()
            case "hang_up":
                if request.transport is not None:
                    request.transport.abort()
        status, body = await self._ask_upstream(request)
        if status == 200 and isinstance(body.get("keys"), list):
            body["keys"] = self._altered(request.path, body["keys"])
        elif status == 200 and "keyId" in body:
            [body] = self._altered(request.path, [body])
        return web.json_response(body, status=status)

    async def _ask_upstream(self, request: web.Request) -> tuple[int, dict[str, Any]]:
        url = f"{self._settings.upstream}{request.path_qs}"
        data = await request.read()
        headers = {"Content-Type": "application/json"} if data else {}
        async with (
            ClientSession() as session,
            session.request(
                request.method, url, data=data or None, headers=headers, ssl=self._upstream_tls
            ) as answer,
        ):
            return answer.status, await answer.json(content_type=None) or {}

    def _altered(self, path: str, keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self._deviation == "redeliver":
            return self._delivered.setdefault(path, keys)
        self._delivered[path] = keys
        change = ALTERATIONS.get(self._deviation)
        return keys if change is None else [_with_key(key, change) for key in keys]


def _with_key(key: dict[str, Any], change: Callable[[bytes], bytes]) -> dict[str, Any]:
    if "keyId" in key:
        return {**key, "key": change(bytes.fromhex(str(key["key"]))).hex()}
    material = base64.b64decode(str(key["key"]))
    return {**key, "key": base64.b64encode(change(material)).decode()}


ALTERATIONS: dict[str, Callable[[bytes], bytes]] = {
    "wrong_length": lambda key: key[:-1],
    "wrong_key": lambda key: bytes([key[0] ^ 1]) + key[1:],
}


def _known(deviation: str) -> str:
    if deviation not in DEVIATIONS:
        raise ValueError(f"{deviation!r} is not one of {', '.join(DEVIATIONS)}")
    return deviation


@click.command()
@click.option("--config", "path", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(path: Path) -> None:
    """Serves until SIGTERM or SIGINT."""
    settings = Settings(**tomllib.loads(path.read_text()))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(settings.certificate, settings.private_key)
    tls.load_verify_locations(settings.ca)
    tls.verify_mode = ssl.CERT_REQUIRED
    host, _, port = settings.listen.rpartition(":")
    web.run_app(
        DeviantKme(settings).application(), host=host, port=int(port), ssl_context=tls, shutdown_timeout=0.5
    )


if __name__ == "__main__":
    main()
