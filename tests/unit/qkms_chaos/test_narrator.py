"""The tour's voice: every step is told with its result, and long ones while they last."""

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.tour.narrator import Narrator


class Page(io.StringIO):
    """A page that can be waited on."""

    def wait_for(self, words: str) -> None:
        def probe() -> None:
            if words not in self.getvalue():
                raise NotYet(self.getvalue())

        wait_for(f"{words!r} to be printed", probe, 10)


def narrator(page: Page, *, terminal: bool = False) -> Narrator:
    return Narrator(Console(file=page, force_terminal=terminal, width=100, color_system=None), steps=2)


def test_a_step_is_ticked_with_its_result() -> None:
    page = Page()
    voice = narrator(page)
    with voice.step("create a key") as result:
        result("version 1\nof grade QKD+PQC")
    with voice.step("[rotate]") as result:
        result("version 2")
    assert page.getvalue().splitlines() == [
        "✓  1/2 create a key",
        "        version 1",
        "        of grade QKD+PQC",
        "✓  2/2 [rotate]",
        "        version 2",
    ]


def test_a_step_that_fails_is_crossed_out_and_its_error_goes_on() -> None:
    page = Page()
    with pytest.raises(LookupError), narrator(page).step("find it"):
        raise LookupError("it is not there")
    assert page.getvalue().splitlines() == ["✗  1/2 find it", "        it is not there"]


@pytest.mark.parametrize("terminal", [False, True])
def test_a_long_step_tells_what_it_waits_for_while_it_lasts(terminal: bool) -> None:
    page = Page()
    voice = narrator(page, terminal=terminal)
    with voice.step("wait"):
        voice.told("for the root")
        page.wait_for("for the root")
        assert "✓" not in page.getvalue()
    page.wait_for("✓  1/2 wait")


def test_a_wait_hands_on_what_each_look_saw() -> None:
    heard: list[str] = []
    looks = iter([NotYet("first"), NotYet("second"), None])

    def probe() -> str:
        outcome = next(looks)
        if outcome is not None:
            raise outcome
        return "there"

    told: Callable[[str], None] = heard.append
    assert wait_for("it", probe, 10, told=told) == "there"
    assert heard == ["first", "second"]
