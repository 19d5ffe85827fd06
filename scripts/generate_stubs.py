"""Generates the Python stubs of proto/qkms/v1 next to their sources.

`--check` generates into a temporary folder and exits 1 when the committed
stubs differ, naming the files.
"""

import argparse
import filecmp
import sys
import tempfile
from importlib import resources
from pathlib import Path

from google.rpc import status_pb2
from grpc_tools import protoc

PROTO_ROOT = Path(__file__).resolve().parent.parent / "proto"
SUFFIXES = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")


def generate(target: Path) -> None:
    sources = sorted(str(p.relative_to(PROTO_ROOT)) for p in PROTO_ROOT.glob("qkms/v1/*.proto"))
    well_known = str(resources.files("grpc_tools") / "_proto")
    # googleapis-common-protos brings google/rpc/status.proto beside its stubs.
    common = Path(status_pb2.__file__).parents[2]
    arguments = [
        "protoc",
        f"-I{PROTO_ROOT}",
        f"-I{well_known}",
        f"-I{common}",
        f"--python_out={target}",
        f"--grpc_python_out={target}",
        f"--mypy_out={target}",
        f"--mypy_grpc_out={target}",
        *sources,
    ]
    if protoc.main(arguments) != 0:
        sys.exit("protoc failed; its message is above")


def stubs(root: Path) -> set[Path]:
    return {p.relative_to(root) for s in SUFFIXES for p in root.glob(f"qkms/v1/*{s}")}


def check() -> None:
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh)
        names = stubs(fresh) | stubs(PROTO_ROOT)
        stale = [
            str(n)
            for n in sorted(names)
            if not (fresh / n).exists()
            or not (PROTO_ROOT / n).exists()
            or not filecmp.cmp(fresh / n, PROTO_ROOT / n, shallow=False)
        ]
    if stale:
        sys.exit(f"stale stubs: {', '.join(stale)}; run `make stubs`")
    print(f"{len(names)} stubs are fresh")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    if parser.parse_args().check:
        check()
    else:
        generate(PROTO_ROOT)
