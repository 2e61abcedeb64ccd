"""An exploration on a Ray cluster: trials are processes that need nothing but the folder.

    nestor explore examples/miras_grid.nest --task mqar --out /shared/grid --on ray
    python3 python/explore_on_ray.py NESTOR explore examples/miras_grid.nest --task mqar --out /shared/grid

Both are the same. NESTOR is the command (a path that every machine has); what follows are its words,
with `--out` in a folder that every machine sees, and RAY_ADDRESS says where the cluster is. Rounds are `nestor explore --pending`, which prints the commands of
the trials that come next; a trial whose machine dies is run again by Ray. The last call of the same
words, without `--pending`, finds every result there and writes the report.
"""

import os
import shlex
import subprocess
import sys

try:
    import ray
except ImportError:
    sys.exit("error: this Python has no ray: pip install ray")


@ray.remote(num_cpus=1, max_retries=3)
def trial(words):
    """One trial; its result is the file it writes, or that it died and of what."""
    environment = dict(os.environ, RAYON_NUM_THREADS="1")
    ended = subprocess.run(words, env=environment, capture_output=True, text=True)
    if ended.returncode == 0:
        return 0, ""
    # As a shell says it: a signal is 128 more than its number.
    status = ended.returncode if ended.returncode > 0 else 128 - ended.returncode
    said = ended.stderr[-4000:]
    told = words + ["--died", str(status), "--said", said]
    return subprocess.run(told, capture_output=True).returncode, said


def explore(words):
    """Runs all rounds; gives how many trials were run."""
    count = 0
    while True:
        printed = subprocess.run(words + ["--pending"], check=True, capture_output=True, text=True)
        commands = [shlex.split(line) for line in printed.stdout.splitlines() if line.strip()]
        if not commands:
            return count
        waiting = [trial.remote([words[0]] + command[1:]) for command in commands]
        failed = 0
        while waiting:
            done, waiting = ray.wait(waiting)
            status, said = ray.get(done[0])
            count += 1
            if status != 0:
                failed += 1
                print(said.strip(), file=sys.stderr)
            print(f"\r{len(commands) - len(waiting)} of {len(commands)} trials", end="", flush=True)
        print()
        if failed:
            sys.exit(f"{failed} trials left no result; the same command goes on")


if __name__ == "__main__":
    if len(sys.argv) < 4 or "explore" not in sys.argv[2:4]:
        sys.exit(__doc__)
    ray.init(address=os.environ.get("RAY_ADDRESS"))
    print(f"{explore(sys.argv[1:])} trials")
    subprocess.run(sys.argv[1:], check=True)
