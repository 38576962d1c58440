"""Break runs in many ways and count what becomes of them: kills, signals, full disks, two processes, damaged files.

    python scripts/campaign.py FOLDER [--jobs kill,call,full,signal,two,damage,fuzz] [--minutes 20] [--seed 0]
                                      [--cases 100]

kill: SIGKILL at a change of a file that Python makes.  call: SIGKILL at a system call of any thread, by strace.
full: no space at a change of a file; in a small file system, as root; by a limit of the size of files; an error of a
system call, by strace.  signal: SIGTERM, SIGINT or SIGHUP at a change of a file.  two: two processes in one folder.
damage: a file of a finished or killed run is cut, flipped in one bit, deleted or replaced by that of another run.
fuzz: tests/test_fuzz.py with another seed and some 2,500 examples instead of 300.

Prints tried / survived / refused / lost.  A case survives where `ddco resume` gives the result of the unbroken run bit
for bit, is refused where `ddco` says so in one line or reading the result raises an error, and is lost where a result
is another one without a word, where a run without damage cannot be resumed, or where a traceback is shown.
A case in which nothing happened, for example because the run ended before, does not count.
Cases are drawn at random from --seed; what is done is in FOLDER/cases.json with the commit of the code, and the same
command goes on after it.
"""

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from unittest import mock

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # this process forks others, and must have one thread
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import orbax.checkpoint  # noqa: F401  loaded once, for all processes
from breaking import SECONDS, Process, fork, hook, limit, no_space, once

from ddco_jax import cli, open_result
from ddco_jax.evaluation import report  # noqa: F401
from ddco_jax.plasma.clone import commit
from ddco_jax.plasma.files import write_text
from ddco_jax.simulation import run as runner  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = ("grid.nx=4", "grid.nv=[20, 6, 6]", "collisions.kernel=none", "time.step_ps=0.01", "time.steps=8")
SETTINGS += ("output.snapshot_every=2", "output.checkpoint_every=2", "output.distribution=true")
RUN = ("run", "langmuir", *(word for setting in SETTINGS for word in ("--set", setting)))
OTHER = (*RUN, "--set", "initial.density_perturbation=0.3")
SMALL = ("grid.nv=[12, 12, 12]", "grid.velocity_extent_m_s=[14000.0, 14000.0, 14000.0]", "time.steps=2")
SMALL += ("collisions.kernel=dd-landau", "output.snapshot_every=1", "output.checkpoint_every=1")
LEARNED = ("run", "relaxation", *(word for setting in SMALL for word in ("--set", setting)))
CALLS = ("write", "pwrite64", "openat", "rename", "mkdir", "fsync", "close", "unlink", "ftruncate", "flock")
FULL = ("write", "pwrite64", "mkdir", "fsync", "ftruncate")
"""Not openat, by which Python reads its modules."""
LARGEST_FILE, LARGEST_FOLDER = 5_300, 700_000
"""Bytes, about those of a run."""
MADE = ("begun", "commit")
"""Attributes of a result that may differ."""
Outcome = tuple[str, str]
"""What was done, and `survived`, `refused`, `idle` or `lost: ` with the reason."""


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


def one_line(err: str) -> bool:
    """Whether stderr ends in the one line of `ddco`, after notes and progress."""
    ends = [line for line in err.splitlines() if line.startswith("ddco: ")]
    return len(ends) == 1 and "Traceback" not in err and "this is unexpected" not in err


def same(one: Path, two: Path) -> bool:
    """Whether two results agree bit for bit, with axes and attributes."""
    a, b = open_result(one), open_result(two)
    names = [f"{node}/{name}" for node in ("history", "snapshots") for name in a[node].variables]
    # as arrays first: array_equal takes an error of reading for a difference
    values = all(np.array_equal(a[name].to_numpy(), b[name].to_numpy()) for name in names)
    pairs = [(a[name], b[name]) for name in names]
    return (
        values
        and all(x.dims == y.dims and x.dtype == y.dtype and x.attrs == y.attrs for x, y in pairs)
        and all(b.attrs.get(key) == value for key, value in a.attrs.items() if key not in MADE)
    )


def resumed(folder: Path, base: str, damaged: bool) -> str:
    """What becomes of FOLDER/broken: survived, refused or lost."""
    if not (folder / "broken" / "config.json").exists() and not damaged:
        for path in (folder / "broken").glob("*"):  # itself it may be a file system
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        status, err = command(*BASES[base], "--out", "broken", cwd=folder)
    else:
        status, err = command("resume", "broken", cwd=folder)
    if status == 0:
        try:
            return "survived" if same(folder / base, folder / "broken") else "lost: another result"
        except Exception as error:  # of whatever reads the result: the damage is noticed
            return "refused" if damaged else f"lost: unreadable, {error}"
    return "refused" if damaged and status in (2, 3) and one_line(err) else f"lost: {err[-300:]}"


BASES = {"whole": RUN, "other": OTHER, "learned": LEARNED}


class Campaign:
    """The folder of a campaign; a process of its own resumes what others have broken, so that this one can fork."""

    def __init__(self, folder: Path, plain: bool) -> None:
        self.folder, self.plain = folder, plain
        self._here, there = fork.Pipe()
        self._worker = fork.Process(target=self._work, args=(there,), daemon=True)
        self._worker.start()

    def _work(self, there: Connection) -> None:
        while True:
            base, damaged = there.recv()
            try:
                there.send(resumed(self.folder, base, damaged))
            except Exception as error:
                there.send(f"lost: {type(error).__name__} {error}")

    def resumed(self, base: str = "whole", damaged: bool = False) -> str:
        """`resumed` in the other process."""
        self._here.send((base, damaged))
        if not self._here.poll(SECONDS):
            self._worker.kill()
            return "lost: it hangs"
        return self._here.recv()

    def base(self, name: str) -> Path:
        """The folder of an unbroken run, or `half`: one that was killed after its second checkpoint."""
        folder = self.folder / name
        if not folder.exists() and name == "half":
            shutil.rmtree(self.folder / "broken", ignore_errors=True)
            process = Process(self.folder, *RUN, "--out", "broken").go()
            while not (self.folder / "broken" / "checkpoints" / "4").exists() and process.process.is_alive():
                time.sleep(0.001)
            process.process.kill()
            process.end()
            (self.folder / "broken").rename(folder)
        elif not folder.exists():
            status, err = Process(self.folder, *BASES[name], "--out", name).go().end()
            if status:
                sys.exit(err)
        return folder

    def kill(self, rng: random.Random) -> Outcome:
        return self._interrupted(rng, "SIGKILL")

    def signal(self, rng: random.Random) -> Outcome:
        return self._interrupted(rng, rng.choice(["SIGTERM", "SIGINT", "SIGHUP"]))

    def _interrupted(self, rng: random.Random, name: str) -> Outcome:
        """A signal at a random change of a file."""
        number, sent = rng.randint(1, 700), getattr(signal, name)
        act = lambda event, path: os.kill(os.getpid(), sent)
        status, err = Process(self.folder, *RUN, "--out", "broken", prepare=once(act, number)).go().end()
        what = f"{name} {number}"
        if status == 0 and name == "SIGKILL":
            return what, "idle"
        if name in ("SIGTERM", "SIGINT"):
            left = {path.name for path in (self.folder / "broken").glob("*")}
            if (left and "config.json" not in left) or "lock" in left:
                return what, f"lost: {left} left behind"
            if status != 0 and not (status == 128 + sent and one_line(err)):
                return what, f"lost: {status} {err[-300:]}"
        return what, self.resumed()

    def call(self, rng: random.Random) -> Outcome:
        """SIGKILL at a system call, also of the threads of other libraries."""
        name, number = rng.choice(CALLS), int(2 ** rng.uniform(0, 8))
        status, _ = self._traced(f"{name}:signal=SIGKILL:when={number}")
        return f"SIGKILL {name} {number}", self.resumed() if status else "idle"

    def _traced(self, injection: str) -> tuple[int, str]:
        process, name = Process(self.folder, *RUN, "--out", "broken"), injection.partition(":")[0]
        words = ["strace", "-f", "-e", f"trace={name}", "-e", f"inject={injection}", "-o", os.devnull]
        with subprocess.Popen([*words, "-p", str(process.process.pid)], stderr=subprocess.PIPE, text=True) as strace:
            assert strace.stderr is not None and "attached" in strace.stderr.readline()
            found = process.go().end()
        return found

    def full(self, rng: random.Random) -> Outcome:
        """A disk that is full for Python, for all libraries, or at one system call."""
        ways = [
            "hook",
            "limit",
            *(["mount"] if os.geteuid() == 0 and not self.plain else []),
            *(["call"] if shutil.which("strace") and not self.plain else []),
        ]
        way, words = rng.choice(ways), (*RUN, "--out", "broken")
        if way == "hook":
            number, what = (n := rng.randint(1, 700)), f"hook {n}"
            status, err = Process(self.folder, *words, prepare=hook(no_space, number)).go().end()
        elif way == "limit":
            size = rng.randint(1, LARGEST_FILE)
            what = f"limit {size}"
            status, err = Process(self.folder, *words, prepare=lambda: limit(size)).go().end()
        elif way == "call":
            name, number, code = rng.choice(FULL), int(2 ** rng.uniform(0, 8)), rng.choice(["ENOSPC", "EIO", "EDQUOT"])
            what = f"{code} {name} {number}"
            status, err = self._traced(f"{name}:error={code}:when={number}+")
        else:
            size = 4096 * rng.randint(1, LARGEST_FOLDER // 4096)
            what = f"mount {size}"
            (self.folder / "broken").mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", self.folder / "broken"], check=True)
            try:
                status, err = Process(self.folder, *words).go().end()
                subprocess.run(["mount", "-o", "remount,size=64m", self.folder / "broken"], check=True)
                return what, self._after_full(status, err)
            finally:
                subprocess.run(["umount", self.folder / "broken"], check=True)
        return what, self._after_full(status, err)

    def _after_full(self, status: int, err: str) -> str:
        if status == 0:
            return "idle" if self.resumed() == "survived" else "lost: status 0"
        return self.resumed() if status in (2, 3) and one_line(err) else f"lost: {status} {err[-300:]}"

    def two(self, rng: random.Random) -> Outcome:
        """Two processes in one folder, one a little after the other."""
        resume, new = ("resume", "broken"), (*RUN, "--out", "broken")
        calls = rng.choice([(new, new), (new, resume), (resume, resume), (resume, new)])
        delay = rng.uniform(0, 3)
        if calls[0] is resume:
            shutil.copytree(self.base("half"), self.folder / "broken")
        first = Process(self.folder, *calls[0]).go()
        time.sleep(delay)
        ends = [p.end() for p in (first, Process(self.folder, *calls[1]).go())]
        what = f"{calls[0][0]} {calls[1][0]} {delay:.2f}"
        good = 0 in [status for status, _ in ends] and all(s == 2 and one_line(e) for s, e in ends if s)
        return what, self.resumed() if good else f"lost: {[(s, e[-200:]) for s, e in ends]}"

    def damage(self, rng: random.Random) -> Outcome:
        """One file of a run is cut, flipped in one bit, deleted or replaced by that of another run."""
        name = rng.choice(["whole", "whole", "half", "learned"])
        shutil.copytree(self.base(name), self.folder / "broken")
        path = rng.choice(sorted(p for p in (self.folder / "broken").rglob("*") if p.is_file()))
        inner, data = path.relative_to(self.folder / "broken"), bytearray(path.read_bytes())
        how = rng.choice(["cut", "flip", "flip", "delete", "replace"])
        if how == "delete":
            path.unlink()
        elif how == "replace":
            other = self.base("other") / inner
            path.write_bytes(other.read_bytes() if other.exists() else b"")
        elif data:
            place = rng.randrange(len(data))
            data[place] ^= 1 << rng.randrange(8)
            path.write_bytes(data[:place] if how == "cut" else data)
        return f"{name} {how} {inner}", self.resumed("whole" if name == "half" else name, True)

    def fuzz(self, rng: random.Random) -> Outcome:
        """tests/test_fuzz.py with a seed: how many cases of which kind were accepted or refused."""
        seed, counts = rng.randrange(10**6), self.folder / "counts.json"
        words = [
            "-m",
            "pytest",
            "-n",
            "0",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--hypothesis-seed={seed}",
            "tests/test_fuzz.py",
        ]
        env = {**os.environ, "FUZZ_COUNTS": str(counts)}
        done = subprocess.run([sys.executable, *words], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        end = "survived" if done.returncode == 0 else f"lost: {done.stdout[-3000:]}"
        return f"{seed} {counts.read_text() if counts.exists() else ''}", end


JOBS = ("kill", "call", "full", "signal", "two", "damage", "fuzz")


def table(done: dict[str, list[str]]) -> str:
    """One line for each job, and what was lost."""
    lines = [f"{'job':8s}{'tried':>8s}{'survived':>10s}{'refused':>9s}{'lost':>6s}"]
    for job in JOBS:
        ends = [end.split(":")[0] for key, (_, end, _) in done.items() if key.split()[0] == job]
        found = Counter(end for end in ends if end != "idle")
        lines.append(f"{job:8s}{found.total():8d}{found['survived']:10d}{found['refused']:9d}{found['lost']:6d}")
    fuzzed: Counter[str] = Counter()
    for key, (what, _, _) in done.items():
        if key.startswith("fuzz") and "{" in what:
            for kind, ends in json.loads(what[what.index("{") :]).items():
                fuzzed.update({f"{kind}, {end}": count for end, count in ends.items()})
    lines += [f"commands of fuzz: {fuzzed.total()}; {dict(sorted(fuzzed.items()))}"] * bool(fuzzed)
    return "\n".join([*lines, *(f"{k}: {w}: {e}" for k, (w, e, _) in done.items() if e.startswith("lost"))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", default=",".join(JOBS[:-1]))
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=100, help="of every job")
    parser.add_argument("--plain", action="store_true", help="full disks without mounts and strace, which need rights")
    options = parser.parse_args()
    folder, deadline = options.folder.resolve(), time.monotonic() + 60 * options.minutes
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder / "compiled"))
    campaign, file = Campaign(folder, options.plain), folder / "cases.json"
    campaign.base("whole")
    done: dict[str, list[str]] = json.loads(file.read_text()) if file.exists() else {}
    for key in [f"{job} {options.seed} {case}" for case in range(options.cases) for job in options.jobs.split(",")]:
        if key in done or (key.startswith("call") and not shutil.which("strace")):
            continue
        if time.monotonic() > deadline:
            break
        shutil.rmtree(folder / "broken", ignore_errors=True)
        done[key] = [*getattr(campaign, key.split()[0])(random.Random(key)), commit()]
        write_text(file, json.dumps(done, indent=1))
    print(table(done))


if __name__ == "__main__":
    main()
