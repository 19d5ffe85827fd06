"""Assembles a KME from its settings, runs it until told to stop, and takes it down in order.

Down: listeners first, so that no new request comes in; then links; then the database. Left out: the
command line (see `__main__`).
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from qkms_qkd.kme.admin_face import AdminFace
from qkms_qkd.kme.channel import MAX_MESSAGE_BYTES, Channel
from qkms_qkd.kme.database import Database
from qkms_qkd.kme.delivery import Delivery
from qkms_qkd.kme.direct import Direct
from qkms_qkd.kme.fault_switches import FaultSwitches
from qkms_qkd.kme.faulty_supply import FaultySupply, slow_answers
from qkms_qkd.kme.link_face import LinkFace
from qkms_qkd.kme.link_store import LinkStore
from qkms_qkd.kme.network.carrier import Carrier
from qkms_qkd.kme.network.pads import PadStore
from qkms_qkd.kme.network.shares import ShareStore
from qkms_qkd.kme.pool import Pool
from qkms_qkd.kme.quantum_link import QuantumLink
from qkms_qkd.kme.settings import Settings, split_address
from qkms_qkd.kme.sharing import Sharing
from qkms_qkd.kme.waiting import Waiting
from qkms_qkd.kme.worker import Worker
from qkms_qkd.seal import load_seal
from qkms_qkd.serving.sae_face import SaeFace
from qkms_qkd.serving.skip_face import SkipFace
from qkms_qkd.serving.web import listen, plain_errors
from qkms_qkd.tls import hybrid_group_available, server_context

if TYPE_CHECKING:
    from qkms_qkd.kme.network.relaying import Relaying

log = structlog.get_logger(__name__)

MAX_REQUEST_BYTES = 64 << 10
_HOUSEKEEPING_S = 1.0


class ListenError(Exception):
    """An address cannot be listened on."""

    code = "KME_LISTEN"


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Runs the KME until `stop` is set. Raises TlsFilesError, SealError, ListenError, OSError."""
    async with AsyncExitStack() as stack:
        database = _database(settings)
        worker = Worker(database)
        stack.push_async_callback(worker.close)

        switches = FaultSwitches(database, worker)
        links = {link.peer: await _link(settings, link.peer, database, worker, stack) for link in settings.links}
        pool = Pool(database)
        sharing = Sharing(settings.quotas)
        pads = PadStore(database, pool)
        shares = ShareStore(database, pads)
        carrier = Carrier(settings, pool, pads, shares, worker, links, sharing)
        relaying = _relaying(settings, carrier, shares, worker)
        direct = Direct(pool, worker, sharing, settings.keys.size_bits)
        delivery = Delivery(settings, worker, links, direct, relaying, Waiting(database, pool, shares))
        supply, slow = FaultySupply(delivery, switches), slow_answers(switches)
        sae_app = _application(MAX_REQUEST_BYTES, slow)
        SaeFace(supply).add_routes(sae_app.router)
        AdminFace(settings, direct, links, switches).add_routes(sae_app.router)
        link_app = _application(MAX_MESSAGE_BYTES)
        LinkFace(settings, delivery, direct, carrier, links).add_routes(link_app.router)

        for link in links.values():
            await stack.enter_async_context(_background(link.run(), f"link to {link.peer}", stop))
        await stack.enter_async_context(_background(_keep_house(delivery, worker), "housekeeping", stop))
        await _listen(settings, "kme.link_listen", settings.kme.link_listen, link_app, stack)
        await _listen(settings, "kme.listen", settings.kme.listen, sae_app, stack)
        if settings.skip is not None:
            skip_app = _application(MAX_REQUEST_BYTES, slow)
            SkipFace(supply).add_routes(skip_app.router)
            await _listen(settings, "skip.listen", settings.skip.listen, skip_app, stack)
        log.info(
            "kme.ready",
            kme=settings.kme.id,
            listen=settings.kme.listen,
            link_listen=settings.kme.link_listen,
            skip_listen=settings.skip.listen if settings.skip else None,
            links=sorted(links),
            hybrid_tls_group=hybrid_group_available(),
        )
        await stop.wait()
        log.info("kme.stopping", kme=settings.kme.id)
    log.info("kme.stopped", kme=settings.kme.id)


def _relaying(settings: Settings, carrier: Carrier, shares: ShareStore, worker: Worker) -> "Relaying | None":
    if settings.network is None:
        return None
    # Brings networkx, which takes as long to import as all the rest.
    from qkms_qkd.kme.network.relaying import Relaying

    return Relaying(settings, settings.network, carrier, shares, worker)


def _database(settings: Settings) -> Database:
    data_dir = Path(settings.kme.data_dir)
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    seal = load_seal(data_dir / "store.key")
    return Database(data_dir, seal, [link.peer for link in settings.links], settings.keys.size_bits)


async def _link(
    settings: Settings, peer: str, database: Database, worker: Worker, stack: AsyncExitStack
) -> QuantumLink:
    section = next(section for section in settings.links if section.peer == peer)
    channel = Channel(section, settings.tls.files())
    stack.push_async_callback(channel.close)
    return QuantumLink(settings.kme.id, section, settings.keys, LinkStore(database, peer), worker, channel)


def _application(max_bytes: int, *around: Middleware) -> web.Application:
    return web.Application(middlewares=[*around, plain_errors], client_max_size=max_bytes)


async def _listen(
    settings: Settings, field: str, address: str, application: web.Application, stack: AsyncExitStack
) -> None:
    host, port = split_address(address)
    try:
        runner = await listen(application, host, port, server_context(settings.tls.files()))
    except OSError as error:
        raise ListenError(
            f"{field}: cannot listen on {address}: {error.strerror}; choose a free address"
        ) from error
    stack.push_async_callback(runner.cleanup)


@asynccontextmanager
async def _background(work: Coroutine[None, None, None], name: str, stop: asyncio.Event) -> AsyncIterator[None]:
    """Runs `work` for the time of the block. If it fails the KME stops, and the failure is raised at the end."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(lambda _: stop.set())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


async def _keep_house(delivery: Delivery, worker: Worker) -> None:
    while True:
        await delivery.expire()
        await worker.scrub()
        await asyncio.sleep(_HOUSEKEEPING_S)
