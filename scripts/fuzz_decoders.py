"""Fuzzes the table of decoders with atheris, guided by what code each input reaches. `make fuzz` runs it.

An input is a row's number (2 bytes, big-endian) and what that row decodes. It
begins from the samples, goes on for a time, and ends at the first input that is
neither taken nor refused in the row's family: the row is printed, and the bytes
are in `crash-*`. Give such a file as an argument to see it again. Put the bytes
among the row's regressions with the mend.
"""

import argparse
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))
warnings.simplefilter("ignore")  # the library warns of certificates that it takes

with atheris.instrument_imports(include=["qkms", "qkms_node", "qkms_client", "qkms_qkd", "qkms_chaos"]):
    from decoders import DECODERS


def main() -> None:
    """Runs until an input fails or the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("inputs", nargs="*", type=Path, help="run these inputs only")
    parser.add_argument("--seconds", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="qkms-corpus-") as corpus:
        for number, decoder in enumerate(DECODERS):
            for place, sample in enumerate((decoder.sample, *decoder.regressions)):
                (Path(corpus) / f"{number}-{place}").write_bytes(number.to_bytes(2, "big") + sample)
        chosen = [str(path) for path in options.inputs] or [corpus, f"-max_total_time={options.seconds}"]
        limits = ["-max_len=200000", "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *chosen, *limits], one)
        atheris.Fuzz()


def one(data: bytes) -> None:
    """One input through its row."""
    decoder = DECODERS[int.from_bytes(data[:2], "big") % len(DECODERS)]
    try:
        decoder.decode(data[2:])
    except decoder.refusals as refusal:
        if not str(refusal):
            raise AssertionError(f"{decoder.name}: refused without a word") from refusal
    except Exception:
        print(f"row: {decoder.name}", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
