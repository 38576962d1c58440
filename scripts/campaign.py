"""Break runs in many ways and count what becomes of them: kills, signals, full disks, two processes, damaged files.

    python scripts/campaign.py FOLDER [--jobs kill,full,signal,two,damage] [--minutes 20] [--seed 0] [--cases 100]

Prints tried / survived / refused / lost.  A case survives where `ddco resume` gives the result of the unbroken run bit
for bit, is refused where `ddco` says so in one line or reading the result raises an error, and is lost where a result
is another one without a word, where a run without damage cannot be resumed, or where a traceback is shown.
Cases are drawn at random from --seed; what is done is in FOLDER/cases.json, and the same command goes on after it.
"""

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np

from ddco_jax import cli, open_result
from ddco_jax.plasma.files import write_text

SETTINGS = ("grid.nx=4", "grid.nv=[20, 6, 6]", "collisions.kernel=none", "time.step_ps=0.01", "time.steps=8")
SETTINGS += ("output.snapshot_every=2", "output.checkpoint_every=2", "output.distribution=true")
RUN = ("run", "langmuir", *(word for setting in SETTINGS for word in ("--set", setting)))
OTHER = (*RUN, "--set", "initial.density_perturbation=0.3")
HOOK = """
import errno, os, signal, sys
kind, number, seen = sys.argv.pop(1), int(sys.argv.pop(1)), 0
CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate")

def hook(event, args):
    global seen
    writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
    if not (writes or event in CHANGES) or not isinstance(args[0], str | bytes | os.PathLike):
        return
    if "/broken" not in os.path.abspath(os.fsdecode(args[0])):
        return
    seen += 1
    if kind == "full" and seen >= number and event in ("open", "os.mkdir"):
        raise OSError(errno.ENOSPC, "No space left on device", args[0])
    if kind.startswith("SIG") and seen == number:
        os.kill(os.getpid(), getattr(signal, kind))

sys.addaudithook(hook)
from ddco_jax import cli
sys.exit(cli.main())
"""
"""Runs `ddco`, and at the given change of a file in the folder sends itself a signal or finds the disk full."""


def command(*words: str, cwd: Path) -> tuple[int, str]:
    """Status and stderr of `ddco` in this process."""
    err, status = io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", ["ddco", *words]),
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as end:
            status = int(end.code or 0)
    return status, err.getvalue()


def broken(folder: Path, kind: str, number: int, *words: str) -> tuple[int, str]:
    """The same in a process of its own, with HOOK."""
    call = [sys.executable, "-c", HOOK, kind, str(number), *words]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stderr


def one_line(err: str) -> bool:
    """Whether stderr ends in the one line of `ddco`, after notes and progress."""
    ends = [line for line in err.splitlines() if line.startswith("ddco: ")]
    return len(ends) == 1 and "Traceback" not in err and "this is unexpected" not in err


def same(one: Path, two: Path) -> bool:
    """Whether two results agree bit for bit."""
    a, b = open_result(one), open_result(two)
    names = [f"{node}/{name}" for node in ("history", "snapshots") for name in a[node].variables]
    # as arrays first: array_equal takes an error of reading for a difference
    return all(np.array_equal(a[name].to_numpy(), b[name].to_numpy()) for name in names)


def resumed(folder: Path, damaged: bool) -> str:
    """What becomes of FOLDER/broken: survived, refused or lost."""
    if not (folder / "broken" / "config.json").exists() and not damaged:
        shutil.rmtree(folder / "broken", ignore_errors=True)
        status, err = command(*RUN, "--out", "broken", cwd=folder)
    else:
        status, err = command("resume", "broken", cwd=folder)
    if status == 0:
        try:
            return "survived" if same(folder / "whole", folder / "broken") else "lost: another result"
        except Exception:  # of whatever reads the result: the damage is noticed
            return "refused" if damaged else "lost: unreadable"
    return "refused" if damaged and one_line(err) else f"lost: {err[-300:]}"


def interrupt(folder: Path, rng: random.Random, kind: str) -> tuple[str, str]:
    """A run that ends at a random change of a file, then resumed."""
    kind = rng.choice(["SIGTERM", "SIGINT", "SIGHUP"]) if kind == "signal" else {"kill": "SIGKILL"}.get(kind, kind)
    number = rng.randint(1, 700)
    status, err = broken(folder, kind, number, *RUN, "--out", "broken")
    if kind == "full" and status != 0 and not one_line(err):
        return f"{kind} {number}", f"lost: {err[-300:]}"
    return f"{kind} {number}", resumed(folder, False)


def two(folder: Path, rng: random.Random, kind: str) -> tuple[str, str]:
    """Two processes begin in one folder, one after the other."""
    call, pipe = [sys.executable, "-m", "ddco_jax.cli", *RUN, "--out", "broken"], subprocess.PIPE
    first = subprocess.Popen(call, cwd=folder, stdout=pipe, stderr=pipe, text=True)
    time.sleep(delay := rng.uniform(0, 8))
    second = subprocess.Popen(call, cwd=folder, stdout=pipe, stderr=pipe, text=True)
    ends = [(p.communicate()[1], p.returncode) for p in (first, second)]
    good = sorted(status for _, status in ends) == [0, 2] and all(one_line(err) for err, status in ends if status)
    agrees = good and same(folder / "whole", folder / "broken")
    return f"{kind} {delay:.2f}", "survived" if agrees else f"lost: {[(s, e[-200:]) for e, s in ends]}"


def damage(folder: Path, rng: random.Random, kind: str) -> tuple[str, str]:
    """A finished run of which one file is cut, flipped, deleted or replaced by that of another run, then resumed."""
    shutil.copytree(folder / "whole", folder / "broken")
    path = rng.choice(sorted(p for p in (folder / "broken").rglob("*") if p.is_file()))
    data, how = bytearray(path.read_bytes()), rng.choice(["cut", "flip", "delete", "replace"])
    other = folder / "other" / path.relative_to(folder / "broken")
    if how == "delete":
        path.unlink()
    elif how == "replace":
        path.write_bytes(other.read_bytes() if other.exists() else b"")
    elif data:
        place = rng.randrange(len(data))
        data[place] ^= 1 << rng.randrange(8)
        path.write_bytes(data[:place] if how == "cut" else data)
    return f"{kind} {how} {path.relative_to(folder / 'broken')}", resumed(folder, True)


JOBS = {"kill": interrupt, "full": interrupt, "signal": interrupt, "two": two, "damage": damage}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", default=",".join(JOBS))
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=100, help="of every job")
    options = parser.parse_args()
    folder, deadline = options.folder.resolve(), time.monotonic() + 60 * options.minutes
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder / "compiled"))
    for name, words in (("whole", RUN), ("other", OTHER)):
        if not (folder / name).exists():
            status, err = broken(folder, "none", 0, *words, "--out", name)
            if status:
                sys.exit(err)
    file = folder / "cases.json"
    done: dict[str, list[str]] = json.loads(file.read_text()) if file.exists() else {}
    for job in options.jobs.split(","):
        for case in range(options.cases):
            key = f"{job} {options.seed} {case}"
            if key in done:
                continue
            if time.monotonic() > deadline:
                break
            shutil.rmtree(folder / "broken", ignore_errors=True)
            done[key] = list(JOBS[job](folder, random.Random(key), job))
            write_text(file, json.dumps(done, indent=1))
            if done[key][1].startswith("lost"):
                print(f"{key}: {': '.join(done[key])}")
    for job in JOBS:
        found = Counter(end.split(":")[0] for key, (_, end) in done.items() if key.split()[0] == job)
        print(
            f"{job:8s} tried {found.total():4d}  "
            + "  ".join(f"{e} {found[e]}" for e in ("survived", "refused", "lost"))
        )


if __name__ == "__main__":
    main()
