"""The batch script of docs/batch.md: stopped by SIGTERM it asks for a new allocation, and there it finishes the run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ddco_jax import open_result

PAGE = Path(__file__).parents[1] / "docs" / "batch.md"
STUBS = {
    "srun": 'exec "$@"',
    "scontrol": 'echo "$@" >> requeued',
    "ddco": f"""echo $$ > pid
echo "$1" >> said
if [ "$1" = run ]; then
  set -- "$@" --set 'grid.nv=[24, 20, 20]' --set 'grid.velocity_extent_m_s=[12000, 12000, 12000]' --set grid.nx=1 \\
    --set field=none --set collisions.kernel=none --set time.step_ps=0.001 --set time.steps=3000 \\
    --set output.checkpoint_every=3000 --set output.snapshot_every=3000
fi
exec "{sys.executable}" -m ddco_jax.cli "$@" """,
}


@pytest.fixture
def script(tmp_path):
    text = PAGE.read_text().split("```bash\n")[1]
    file = tmp_path / "array.sh"
    file.write_text(text.partition("```")[0])
    (tmp_path / "bin").mkdir()
    for name, body in STUBS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    return file


def started(script):
    slurm = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_JOB_ID": "77"}
    path = f"{script.parent / 'bin'}:{os.environ['PATH']}"
    return subprocess.Popen(
        ["bash", str(script)], cwd=script.parent, env=os.environ | slurm | {"PATH": path}, stderr=subprocess.PIPE
    )


@pytest.mark.slow
def test_a_run_of_the_array_survives_preemption(script):
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    folder, log = script.parent, script.parent / "runs" / "T_0.2" / "run.log"
    job, end = started(script), time.monotonic() + 200
    while not (log.exists() and "step 1/" in log.read_text()):
        assert time.monotonic() < end and job.poll() is None
        time.sleep(0.05)
    os.kill(int((folder / "pid").read_text()), signal.SIGTERM)
    _, err = job.communicate(timeout=200)
    assert job.returncode == 143 and b"stopped by SIGTERM after step" in err
    assert (folder / "requeued").read_text() == "requeue 77_2\n"
    job = started(script)
    assert job.communicate(timeout=250) and job.returncode == 0
    assert (folder / "said").read_text().split() == ["run", "resume"]
    assert open_result(folder / "runs" / "T_0.2")["history"].sizes["t"] == 3001
    assert (folder / "requeued").read_text().count("\n") == 1
