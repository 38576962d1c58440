"""A short campaign of `scripts/campaign.py`: kills, full disks, signals, two processes and damage lose nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "campaign.py"


@pytest.mark.slow
def test_nothing_is_lost(tmp_path):
    options = ("--jobs", "kill,full,signal,two,damage", "--cases", "2", "--plain")
    command = [sys.executable, str(SCRIPT), str(tmp_path / "campaign"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "campaign" / "cases.json").read_text())
    ends = [end for _, end, _ in found.values()]
    assert not [case for case in found.items() if case[1][1].startswith("lost")], done.stdout
    assert len(ends) == 10 and ends.count("survived") >= 6 and ends.count("idle") <= 2
