"""Gives each parallel test process loopback ports of its own."""

import os

from qkms_chaos.cluster.ports import RANGE, VARIABLE

_worker = os.environ.get("PYTEST_XDIST_WORKER")
if _worker is not None:
    _share = len(RANGE) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    _first = RANGE.start + int(_worker.removeprefix("gw")) * _share
    os.environ[VARIABLE] = f"{_first}-{_first + _share - 1}"
