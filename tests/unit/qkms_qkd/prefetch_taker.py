"""A process that takes keys from a prefetch store, one by one, and writes the id of each, until it is killed."""

import asyncio
import sys
from pathlib import Path

from qkms_qkd.prefetch.rows import Place
from qkms_qkd.prefetch.store import PrefetchStore

KEY = bytes(range(32))
PLACE = Place("kme-1", "node-1", "node-2")


async def take_all(folder: Path) -> None:
    store = PrefetchStore(folder)
    await store.unlock(KEY)
    while taken := await store.take(PLACE, 1, 256, 3600):
        print(taken[0].key_id, taken[0].key.hex(), flush=True)
    await store.close()


if __name__ == "__main__":
    asyncio.run(take_all(Path(sys.argv[1])))
