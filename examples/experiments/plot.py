#!/usr/bin/env python3
"""Draws lines as SVG: `plot.py TITLE X Y < lines > plot.svg`, a line of input being `series x y`. Points of one series and one x
are averaged, and the smallest and the largest of them are marked. Series `a/one` and `a/two` have one colour, the second is dashed."""

import sys

COLOURS = ["#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2"]
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 790, 400, 60, 34, 180, 44


def ticks(low, high):
    """About five round numbers between two."""
    rough = (high - low) / 5 or 1.0
    power = 10.0 ** len(str(int(rough))) / 10 if rough >= 1 else 1.0
    while power > rough:
        power /= 10
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first = int(low / step) + (low > int(low / step) * step)
    return [k * step for k in range(first, int(high / step) + 1)]


def main():
    title, x_name, y_name = sys.argv[1:4]
    series = {}
    for line in sys.stdin:
        name, x, y = line.split()
        series.setdefault(name, {}).setdefault(float(x), []).append(float(y))
    points = [(x, y) for by in series.values() for x, ys in by.items() for y in ys]
    x0, x1 = min(p[0] for p in points), max(p[0] for p in points)
    y0, y1 = min(p[1] for p in points), max(p[1] for p in points)
    pad = (y1 - y0) * 0.06 or 0.5
    y0, y1 = (0.0 if 0 <= y0 < pad else y0 - pad), y1 + pad
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    at_x = lambda x: LEFT + wide * (x - x0) / ((x1 - x0) or 1)
    at_y = lambda y: TOP + high * (y1 - y) / (y1 - y0)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        "<style>text{fill:#222}.g{stroke:#ddd}@media(prefers-color-scheme:dark){svg{background:#111}text{fill:#ddd}.g{stroke:#333}}</style>",
        f'<text x="{LEFT}" y="18" font-size="14">{title}</text>',
        f'<text x="{LEFT + wide / 2}" y="{HEIGHT - 8}" text-anchor="middle">{x_name}</text>',
        f'<text transform="translate(14 {TOP + high / 2}) rotate(-90)" text-anchor="middle">{y_name}</text>',
    ]
    for y in ticks(y0, y1):
        out.append(f'<line class="g" x1="{LEFT}" x2="{LEFT + wide}" y1="{at_y(y):.1f}" y2="{at_y(y):.1f}"/>')
        out.append(f'<text x="{LEFT - 6}" y="{at_y(y) + 4:.1f}" text-anchor="end">{y:g}</text>')
    for x in ticks(x0, x1):
        out.append(f'<text x="{at_x(x):.1f}" y="{TOP + high + 16}" text-anchor="middle">{x:g}</text>')
    for k, (name, by) in enumerate(series.items()):
        group, _, way = name.partition("/")
        groups = list(dict.fromkeys(n.partition("/")[0] for n in series))
        ways = list(dict.fromkeys(n.partition("/")[2] for n in series))
        colour = COLOURS[groups.index(group) % len(COLOURS)]
        dash = ' stroke-dasharray="5 4"' if ways.index(way) % 2 else ""
        line = sorted((x, sum(ys) / len(ys), min(ys), max(ys)) for x, ys in by.items())
        path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y, _, _ in line)
        out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2"{dash} points="{path}"/>')
        for x, y, low, up in line:
            out.append(f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="3" fill="{colour}"><title>{name} {x:g}: {y:.4g}</title></circle>')
            if up > low:
                out.append(f'<line stroke="{colour}" x1="{at_x(x):.1f}" x2="{at_x(x):.1f}" y1="{at_y(low):.1f}" y2="{at_y(up):.1f}"/>')
        key = TOP + 14 + 18 * k
        out.append(f'<line stroke="{colour}" stroke-width="2"{dash} x1="{LEFT + wide + 10}" x2="{LEFT + wide + 34}" y1="{key}" y2="{key}"/>')
        out.append(f'<text x="{LEFT + wide + 40}" y="{key + 4}">{group} {way}</text>')
    out.append("</svg>")
    print("\n".join(out))


main()
