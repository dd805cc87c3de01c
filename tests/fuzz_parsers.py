"""Coverage-guided fuzzing of every parser of hostile bytes, with atheris.

    python tests/fuzz_parsers.py [SECONDS] [TARGET ...]

Each target runs in a process of its own for SECONDS. The first input that brings about anything but an
error of ours is kept beside the corpus, and ends the run with exit code 1.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

SECONDS = 20
CORPUS = Path(__file__).resolve().parent.parent / ".fuzz"


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target in this process; atheris ends it."""
    import atheris  # noqa: PLC0415  it is there only where somebody fuzzes

    with atheris.instrument_imports(include=["psishare", "fuzz_targets"]):
        from fuzz_targets import TARGETS, feed  # noqa: PLC0415

    target = next(each for each in TARGETS if each.name == name)
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, example in enumerate(target.examples()):
        (corpus / f"example-{number}").write_bytes(example)
    options = [
        f"-max_total_time={seconds}",
        "-max_len=16384",
        "-timeout=20",
        "-print_final_stats=1",
    ]
    found = f"-artifact_prefix={CORPUS}/{name}-"
    atheris.Setup([sys.argv[0], *options, found, str(corpus)], lambda data: feed(target, data))
    atheris.Fuzz()


def main() -> None:
    """Fuzz each target in a process of its own."""
    from fuzz_targets import TARGETS  # noqa: PLC0415

    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    names = sys.argv[2:] or [target.name for target in TARGETS]
    failed = []
    for name in names:
        with tempfile.TemporaryFile("w+") as told:
            command = [sys.executable, __file__, "--one", name, str(seconds)]
            done = subprocess.run(command, stdout=told, stderr=told, check=False)
            told.seek(0)
            text = told.read()
        runs = [
            line.split()[-1] for line in text.splitlines() if "number_of_executed_units" in line
        ]
        print(
            f"{name}: {runs[0] if runs else '?'} inputs, {'FAILED' if done.returncode else 'ok'}",
            flush=True,
        )
        if done.returncode:
            failed.append(name)
            print(text[-4000:], flush=True)
    if failed:
        sys.exit(f"not withstood: {', '.join(failed)}; the inputs are in {CORPUS}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        fuzz(sys.argv[2], int(sys.argv[3]))
    else:
        main()
