#!/usr/bin/env python3
"""Applies the hand-made faults of faults.toml one by one, and checks that the test named with each one fails.

usage: tests/mutants/run.py [--check] [WORD…]

With words, only faults whose name contains one of them. With --check nothing is compiled: the texts to be replaced and the
tests are looked for, which takes no time.

A fault that no test notices has survived, and so has a check that the test was written for. The faults are applied to a
copy of the tree below target/mutants, which has a build directory of its own; the tree itself is only read. For each fault
no more is built than the library and the binary that holds the test.
"""

import filecmp
import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TREE = ROOT / "target/mutants/tree"
TESTS_FAILED = 100  # nextest's exit code where tests ran and at least one of them failed


def copy_tree():
    """Brings the copy up to date; files that have not changed keep their time, so that cargo does not rebuild them."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\0")
    wanted = {name for name in listed if name and (ROOT / name).is_file()}
    for name in wanted:
        source, copy = ROOT / name, TREE / name
        if not copy.is_file() or not filecmp.cmp(source, copy, shallow=False):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
            shutil.copymode(source, copy)
    for copy in list(TREE.rglob("*")):
        if copy.is_file() and str(copy.relative_to(TREE)) not in wanted:
            copy.unlink()


def nextest(selections):
    """Runs tests, each given as BINARY::NAME with "lib" for unit tests; returns the exit code and the output."""
    binaries, names = set(), []
    for selection in selections:
        binary, name = selection.split("::", 1)
        binaries.add(binary)
        kind = "kind(lib)" if binary == "lib" else f"binary({binary})"
        names.append(f"({kind} and test(={name}))")
    targets = [part for binary in sorted(binaries) for part in (["--lib"] if binary == "lib" else ["--test", binary])]
    command = ["cargo", "nextest", "run", "--locked", "--profile", "mutants", "--cargo-quiet", *targets]
    command += ["-E", " or ".join(names)]
    environment = os.environ | {"CARGO_TARGET_DIR": str(ROOT / "target/mutants/build"), "CARGO_PROFILE_DEV_DEBUG": "0"}
    run = subprocess.run(command, cwd=TREE, env=environment, capture_output=True, text=True)
    return run.returncode, run.stdout + run.stderr


def misfit(fault):
    """What keeps a fault from being applied or noticed, as far as the sources tell; None if nothing does."""
    stands = (ROOT / fault["file"]).read_text().count(fault["find"])
    if stands != 1:
        return f"its text stands {stands} times in {fault['file']}, not once"
    binary, *_, name = fault["test"].split("::")
    sources = ROOT / "src" if binary == "lib" else ROOT / "tests" / binary
    if not any(f"fn {name}(" in source.read_text() for source in sources.rglob("*.rs")):
        return f"there is no {fault['test']}"
    return None


def verdict(fault):
    """Applies one fault; returns None if its test noticed, else what is wrong."""
    file = TREE / fault["file"]
    original = file.read_text()
    file.write_text(original.replace(fault["find"], fault["replace"]))
    try:
        code, output = nextest([fault["test"]])
    finally:
        file.write_text(original)
    if code == TESTS_FAILED:
        return None
    if code == 0:
        return f"it survived {fault['test']}"
    return f"the tests could not be run (exit code {code}):\n" + output[-3000:]


def main():
    faults = tomllib.loads((Path(__file__).parent / "faults.toml").read_text())["fault"]
    words = sys.argv[1:]
    only_check = "--check" in words
    words = [word for word in words if word != "--check"]
    faults = [fault for fault in faults if not words or any(word in fault["name"] for word in words)]
    if not faults:
        sys.exit(f"no fault has a name with {' or '.join(words)}")
    misfits = [(fault["name"], misfit(fault)) for fault in faults]
    misfits = [f"{name}: {problem}" for name, problem in misfits if problem]
    if misfits:
        sys.exit("\n".join(misfits))
    if only_check:
        print(f"hand-made faults: {len(faults)} can be applied")
        return
    copy_tree()
    tests = sorted({fault["test"] for fault in faults})
    code, output = nextest(tests)
    if code != 0 or f"{len(tests)} tests run" not in output.replace("1 test run", "1 tests run"):
        sys.exit(f"without any fault, not all of the {len(tests)} tests ran and passed:\n{output[-5000:]}")
    failed = 0
    for fault in faults:
        began = time.monotonic()
        problem = verdict(fault)
        failed += problem is not None
        print(f"{'FAIL' if problem else 'PASS'} [{time.monotonic() - began:5.0f}s] {fault['name']}", flush=True)
        if problem:
            print(f"     {problem}", flush=True)
    print(f"hand-made faults: {len(faults) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
