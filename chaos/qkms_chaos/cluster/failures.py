"""How a command that runs a cluster can fail, and how it then ends."""

import sys
from typing import NoReturn

from rich.console import Console
from rich.text import Text

from qkms_chaos.cluster.layout import LayoutError
from qkms_chaos.cluster.process import ProcessDied, ProcessHangs
from qkms_chaos.cluster.waits import WaitExpired
from qkms_client.errors import QkmsError

FAILURES = (LayoutError, ProcessDied, ProcessHangs, WaitExpired, QkmsError, OSError)


def end_with(console: Console, error: Exception) -> NoReturn:
    """Says the error as it stands, and ends the process with status 1."""
    console.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)
    sys.exit(1)
