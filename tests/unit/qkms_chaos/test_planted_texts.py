"""Every planted bug can still be planted, which needs the text that it replaces to be in the product once."""

import ast
from pathlib import Path

import pytest

from qkms_chaos.planted.bugs import BUGS
from qkms_chaos.planted.command import planted_text
from qkms_chaos.scenarios.command import SCENARIOS


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_can_be_planted(name: str) -> None:
    bug = BUGS[name]
    assert len({edit.file for edit in bug.edits}) == len(bug.edits)
    for edit in bug.edits:
        ast.parse(planted_text(edit))
    assert bug.scenario in SCENARIOS


def test_the_table_names_every_bug_and_who_finds_it() -> None:
    table = (Path(__file__).parents[3] / "chaos" / "BUGS.md").read_text()
    for name, bug in BUGS.items():
        [row] = [line for line in table.splitlines() if line.startswith(f"| `{name}` |")]
        assert row == f"| `{name}` | {bug.breaks} | `{bug.scenario}` |"
