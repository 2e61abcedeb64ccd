#!/usr/bin/env python3
"""Lines `seed name x value` to a table: a row a name, a column an x, the mean over seeds and half the distance between the smallest
and the largest; the last column is the mean over x."""

import sys

found, columns = {}, []
for line in sys.stdin:
    _, name, x, value = line.split()
    found.setdefault(name, {}).setdefault(x, []).append(float(value))
    if x not in columns:
        columns.append(x)
print("|  | " + " | ".join(columns) + " | mean |")
print("|---" * (len(columns) + 2) + "|")
for name, by in found.items():
    cells = []
    for x in columns:
        values = by.get(x, [])
        mean = sum(values) / len(values) if values else float("nan")
        cells.append(f"{mean:.3f} ± {(max(values) - min(values)) / 2:.3f}" if values else "")
    every = [sum(v) / len(v) for v in by.values()]
    print(f"| {name} | " + " | ".join(cells) + f" | {sum(every) / len(every):.3f} |")
