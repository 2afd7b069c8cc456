"""Feed damaged files to every reader, changed so that they reach new lines: python tests/fuzz/fuzz_coverage.py

As fuzz_readers.py, but atheris (libFuzzer) chooses the changes by the lines of Python that they reach. Each reader runs
in a process of its own for its share of --seconds, and begins with the sound file and what an earlier run found.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mwaconvert"]):
    import fuzz_readers
    from sound import Sound

    # which the reader imports when it needs them


def main() -> int:
    """Run all readers for a time; 1 if one of them had a finding, which is kept as a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60, help="for all readers together")
    parser.add_argument("--only", help="one of the sound files")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="folder for findings")
    ours = sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    options = parser.parse_args(ours)
    sound = fuzz_readers.seeds()
    if options.inside is not None:
        _fuzz(sound[options.only], options.inside)
    names = [options.only] if options.only else sorted(sound)
    each = max(1, round(options.seconds / len(names)))
    failed = []
    for name in names:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            corpus = Path(folder) / "corpus"
            corpus.mkdir()
            (corpus / "sound").write_bytes(sound[name].raw)
            options.keep.mkdir(exist_ok=True)
            words = [sys.executable, __file__, "--only", name, "--inside", folder]
            limits = [f"-max_total_time={each}", "-timeout=120", "-rss_limit_mb=4096", "-max_len=300000"]
            run = subprocess.run(
                [
                    *words,
                    "--",
                    *limits,
                    f"-artifact_prefix={options.keep}/{name.replace(' ', '-')}-",
                    str(corpus),
                ],
                capture_output=True,
                text=True,
                check=False,
            )
        lines = run.stderr.strip().splitlines()
        print(f"{name}: {lines[-1] if lines else 'no output'}", flush=True)
        if run.returncode:
            failed.append(name)
            print("\n".join(lines[-40:]))
    print(f"{len(names)} readers, {each} s each; findings: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def _fuzz(sound: Sound, folder: Path) -> None:
    """Does not return: libFuzzer ends the process."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_DATA, (fuzz_readers.MEMORY_BYTES, fuzz_readers.MEMORY_BYTES))

    def read(raw: bytes) -> None:
        fuzz_readers.one(folder, sound, raw)

    atheris.Setup([sys.argv[0], *sys.argv[sys.argv.index("--") + 1 :]], read)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
