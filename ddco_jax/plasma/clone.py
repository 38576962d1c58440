"""The version and the git commit of the code that runs, for what states how it was made."""

import subprocess
from pathlib import Path

VERSION = "0.2.0.dev0"
"""Version of the package, the one place for it (pyproject.toml reads it here)."""
ROOT = Path(__file__).parents[2]


def commit() -> str:
    """The commit of the clone that the package runs from, with "-dirty" where its code is changed; "" outside a clone.

    A changed file in benchmarks/results is no changed code.
    """
    if not (ROOT / ".git").exists():
        return ""
    try:
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)benchmarks/results")
        return _git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
