"""Telling a tour as it happens: each step with its result, and what takes over a second while it does.

On a terminal a spinner shows what is being waited for; elsewhere a line says so
after a second and then every few seconds.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

FIRST_NOTE_S = 1.0
NOTE_EVERY_S = 5.0
SPIN_S = 0.2
INDENT = 8


class Narrator:
    """Prints numbered steps. `told` takes what the present step is waiting for."""

    def __init__(self, console: Console, steps: int) -> None:
        self._console = console
        self._steps = steps
        self._done = 0
        self._note = ""

    def told(self, note: str) -> None:
        """What is being waited for now."""
        self._note = note

    @contextmanager
    def step(self, title: str) -> Iterator[Callable[[str], None]]:
        """A step; the body hands its result to what is yielded. A step that raises is crossed out."""
        self._done += 1
        self._note = ""
        number = f"{self._done:>2}/{self._steps}"
        results: list[str] = []
        begun = time.monotonic()
        try:
            with self._progress(f"{number} {title}"):
                yield results.append
        except KeyboardInterrupt:
            self._print("[bold red]✗[/]", number, title, "interrupted", begun)
            raise
        except Exception as error:
            self._print("[bold red]✗[/]", number, title, str(error) or type(error).__name__, begun)
            raise
        self._print("[bold green]✓[/]", number, title, "; ".join(results), begun)

    def _print(self, mark: str, number: str, title: str, result: str, begun: float) -> None:
        took = time.monotonic() - begun
        after = f" [dim]({took:.1f} s)[/]" if took >= FIRST_NOTE_S else ""
        self._console.print(f"{mark} [dim]{number}[/] [bold]{escape(title)}[/]{after}")
        for line in result.splitlines():
            if self._console.is_terminal:
                self._console.print(Padding.indent(Text(line), INDENT))
            else:
                self._console.print(Text(" " * INDENT + line), soft_wrap=True)

    @contextmanager
    def _progress(self, title: str) -> Iterator[None]:
        ended = threading.Event()
        show = self._spin if self._console.is_terminal else self._say
        teller = threading.Thread(target=show, args=(title, ended), daemon=True)
        teller.start()
        try:
            yield
        finally:
            ended.set()
            teller.join()

    def _spin(self, title: str, ended: threading.Event) -> None:
        begun = time.monotonic()
        if ended.wait(FIRST_NOTE_S / 2):
            return
        with self._console.status("") as spinner:
            while not ended.wait(SPIN_S):
                spinner.update(f"{escape(title)}{escape(self._words(begun))}")

    def _say(self, title: str, ended: threading.Event) -> None:
        begun = time.monotonic()
        pause = FIRST_NOTE_S
        while not ended.wait(pause):
            self._console.print(Text(f"  … {title}{self._words(begun)}"), soft_wrap=True)
            pause = NOTE_EVERY_S

    def _words(self, begun: float) -> str:
        took = f" ({time.monotonic() - begun:.0f} s)"
        return f"{took}: {self._note}" if self._note else took
