"""A compiled program behind nestor-bench, which answers line by line."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from . import tensors

ROOT = Path(__file__).resolve().parents[2]
SPECS = ROOT / "bench" / "specs"


def build():
    """Builds nestor-bench and gives its path."""
    print("building nestor-bench", file=sys.stderr, flush=True)
    command = ["cargo", "build", "--release", "--quiet", "-p", "nestor-bench"]
    if subprocess.run(command, cwd=ROOT).returncode != 0:
        sys.exit("nestor-bench does not build: see above")
    return ROOT / "target" / "release" / "nestor-bench"


class Ours:
    """One program: its compile time, its timings, its inputs and outputs."""

    def __init__(self, options, what, spec, entry, batch, time, **settings):
        command = [str(options.binary), what, str(SPECS / spec), "--entry", entry]
        command += ["--batch", str(batch), "--time", str(time)]
        command += ["--threads", str(options.threads)]
        for name, value in settings.items():
            command += ["--set", f"{name}={value}"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.ready = self.process.stdout.readline().strip()
        found = re.match(r"ready (\d+) ms", self.ready)
        if not found:
            sys.exit(f"`{' '.join(command)}` did not compile: see above")
        self.compile_ms = float(found[1])

    def ask(self, line):
        """The answer to one line."""
        print(line, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline().strip()
        if not answer:
            sys.exit(f"nestor-bench ended at `{line}`: see above")
        return answer

    def measure(self, calls=1):
        """Milliseconds of one call; of several, one that is not counted comes first."""
        if calls > 1:
            self.ask("run 1")
        return float(self.ask(f"run {calls}"))

    def give(self, named):
        """Makes these tensors its inputs."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "inputs.safetensors"
            tensors.write(path, named)
            self.ask(f"give {path}")

    def inputs(self):
        """Its inputs as they are now, by name."""
        return self._taken("inputs")

    def outputs(self):
        """What one call puts out, by name."""
        return self._taken("outputs")

    def _taken(self, command):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tensors.safetensors"
            self.ask(f"{command} {path}")
            return tensors.read(path)

    def close(self):
        """Ends the program."""
        self.process.stdin.close()
        self.process.wait()
