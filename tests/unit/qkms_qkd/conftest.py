"""Networks of real KME processes, and a single KME that deviates."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from .certificates import TestAuthority
from .deviant_kme import DeviantKme, deviant_kme
from .kme_network import KmeNetwork


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[KmeNetwork]:
    """Two running KMEs joined by a 25 km link, store of 200 keys."""
    network = KmeNetwork(tmp_path, 2)
    try:
        network.start()
        yield network
    finally:
        network.stop_all()


@pytest.fixture(scope="module")
def quiet_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KmeNetwork]:
    """Like `pair`, one per module, for tests that leave it as it was."""
    network = KmeNetwork(tmp_path_factory.mktemp("pair"), 2)
    try:
        network.start()
        network.wait_stored("kme-1", "kme-2", 100)
        yield network
    finally:
        network.stop_all()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    """A CA of its own for each module."""
    return TestAuthority(tmp_path_factory.mktemp("pki"))


@pytest.fixture
async def kme(authority: TestAuthority) -> AsyncIterator[DeviantKme]:
    """A KME that answers as the test tells it."""
    async with deviant_kme(authority) as deviant:
        yield deviant
