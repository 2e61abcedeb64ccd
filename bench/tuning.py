"""How often costs choose the best form and chunk of the library's memories, and what is lost where they do not.

    python3 bench/tuning.py target/release/nestor --out tuned.json [--widths 64,128] [--budget 30s] [--only kda,mesa]

Runs `nestor tune` on every layer of stdlib/checks/memories.nest with four heads and prints the table of docs/tuning.md. What is in
the file already is not measured again, so that it goes on where it was stopped.
"""

import argparse
import json
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).parent.parent
FILE = ROOT / "stdlib" / "checks" / "memories.nest"
LAYER = re.compile(r"^layer (\w+)\(([^)]*)\)", re.MULTILINE)


def tuned(nestor, name, sizes, out, budget):
    """The walks of a layer, or why there are none."""
    command = [nestor, "tune", FILE, name, "--out", out, "--json", "--budget", budget]
    for size in sizes:
        command += ["--set", size]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode != 0:
        return None, ended.stderr.strip().splitlines()[0]
    return json.loads(ended.stdout)["walks"], None


def measured(candidate):
    return candidate["ratios"] and candidate["ratios"][-1] is not None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nestor")
    parser.add_argument("--out", required=True)
    parser.add_argument("--widths", default="64,128")
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--only", default="")
    a = parser.parse_args()
    only = [n for n in a.only.split(",") if n]
    gains, rest = [], []
    print("| memory | d | costs choose | ms | best | gain |\n|---|---|---|---|---|---|")
    for name, parameters in LAYER.findall(FILE.read_text()):
        if only and name not in only:
            continue
        own = [p.split("=")[0].strip() for p in parameters.split(",")]
        for width in a.widths.split(","):
            sizes = [f"{p}={width}" for p in own if p in ("d", "d_k", "d_v")]
            if "heads" in own:
                sizes.append("heads=4")
            walks, why = tuned(a.nestor, name, sizes, a.out, a.budget)
            if walks is None:
                rest.append(f"`{name}`, d = {width}: {why}")
                continue
            for walk in walks:
                costs = walk["costs"]
                if walk["best"] is None:
                    rest.append(f"`{name}`, d = {width}: not done in its time")
                    continue
                best = walk["best"]
                time = costs["seconds"]
                time = f"{time * 1e3:.1f}" if time else "-"
                gains.append(walk["gain"])
                print(
                    f"| {name} | {width} | {costs['form']} {costs['chunk']} | {time} "
                    f"| {best['form']} {best['chunk']} | {walk['gain']:.2f} |",
                    flush=True,
                )
    if gains:
        gains.sort()
        good = sum(g <= 1.0 for g in gains)
        print(
            f"\n{good} of {len(gains)} walks are as costs choose; the median gain is {gains[len(gains) // 2]:.2f}, "
            f"the largest {gains[-1]:.2f}."
        )
    for line in rest:
        print(f"\nNot measured: {line}")


main()
