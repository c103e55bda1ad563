"""What a sweep costs beside its commands: 100 jobs that do nothing, and a list of 1,000.

    python benchmarks/speed/sweeps.py [--jobs 100] [--at-once 2]

Printed: milliseconds per job beyond starting the same processes bare, and per job to look at the states of 1,000.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

from counterbench.sweeps import running, state
from counterbench.sweeps.jobs import Job

NOTHING = [sys.executable, "-S", "-c", "pass"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=2)
    chosen = parser.parse_args()
    jobs = [Job(number, "data", f"job-{number}", (str(number),)) for number in range(1, chosen.jobs + 1)]
    begun = time.perf_counter()
    with ThreadPoolExecutor(chosen.at_once) as pool:
        list(pool.map(lambda _: subprocess.run(NOTHING, check=True), jobs))
    bare = time.perf_counter() - begun
    with tempfile.TemporaryDirectory() as home, patch.object(running, "command_of", lambda job: NOTHING):
        begun = time.perf_counter()
        assert not running.run(jobs, Path(home), at_once=chosen.at_once)
        spent = time.perf_counter() - begun
        many = [Job(number, "data", f"job-{number}", (str(number),)) for number in range(1, 1001)]
        begun = time.perf_counter()
        seen = [state.look(job, Path(home)).state for job in many]
        looked = time.perf_counter() - begun
    assert seen.count("done") == chosen.jobs
    each = 1000 * (spent - bare) / chosen.jobs
    print(
        f"{each:.1f} ms per job beyond {1000 * bare / chosen.jobs:.1f} ms of the bare process; a look at one: {looked:.2f} ms"
    )


if __name__ == "__main__":
    main()
