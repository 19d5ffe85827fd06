"""The committed vectors are those the generators make, which use none of the product's code."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "tests" / "vectors"
GENERATORS = sorted(path.stem for path in FOLDER.glob("generate_*.py"))


@pytest.mark.parametrize("generator", GENERATORS)
def test_vectors_are_fresh(generator: str) -> None:
    check = subprocess.run(
        [sys.executable, "-m", f"tests.vectors.{generator}", "--check"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (check.returncode, check.stderr) == (0, "")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_generators_are_independent_of_the_product(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    imported = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    imported += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    ours = {"hashlib", "hmac", "struct", "json", "sys", "pathlib", "typing", "importlib.resources"}
    assert {name for name in imported if not name.startswith("tests.vectors.")} <= ours
