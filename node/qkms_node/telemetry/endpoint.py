"""HTTP on loopback, without TLS: `/metrics` for Prometheus, `/health/...` for whoever watches the process.

The one listener that does not authenticate. It serves nothing secret and
changes nothing, and the configuration only admits loopback addresses.

    /metrics        Prometheus text format
    /health/live    200 while the process answers
    /health/read    200 while bounded reads are served, else 503
    /health/write   200 while writes are accepted, else 503
"""

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import ThreadingWSGIServer, make_wsgi_app

Health = Callable[[], Mapping[str, bool]]


class _Quiet(WSGIRequestHandler):
    """Scrapes are not logged."""

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


class Endpoint:
    """Serves on threads of its own from `start` to `stop`. `health`: what is served now, by name."""

    def __init__(self, listen: str, registry: CollectorRegistry, health: Health) -> None:
        self._host, _, port = listen.rpartition(":")
        self._port = int(port)
        self._metrics = make_wsgi_app(registry)
        self._health = health
        self._server: Any = None

    def start(self) -> int:
        """Binds, serves, and returns the port. Raises OSError."""
        try:
            self._server = make_server(self._host, self._port, self._answer, ThreadingWSGIServer, _Quiet)
        except OSError as error:
            raise OSError(
                f"metrics.listen: {self._host}:{self._port} cannot be bound: {error.strerror or error}"
            ) from error
        threading.Thread(target=self._server.serve_forever, name="qkms-metrics", daemon=True).start()
        return int(self._server.server_port)

    def stop(self) -> None:
        """Ends the listener; scrapes under way are not waited for."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _plain(start_response, "405 Method Not Allowed", {"error": "only GET is served"})
        if path == "/metrics":
            found: Iterable[bytes] = self._metrics(environ, start_response)
            return found
        if path == "/health/live":
            return _plain(start_response, "200 OK", {"live": True})
        served = self._health()
        name = path.removeprefix("/health/")
        if path.startswith("/health/") and name in served:
            status = "200 OK" if served[name] else "503 Service Unavailable"
            return _plain(start_response, status, served)
        known = "/metrics, /health/live, " + ", ".join(f"/health/{known}" for known in served)
        return _plain(start_response, "404 Not Found", {"error": f"there are {known}"})


def _plain(start_response: Any, status: str, body: Mapping[str, object]) -> list[bytes]:
    data = json.dumps(dict(body)).encode() + b"\n"
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(data)))])
    return [data]
