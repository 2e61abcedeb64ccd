#!/bin/sh
# Trains a Transformer, Titans and HOPE on books, and measures them on other books by place, with memory carried from segment to segment
# and with memory that begins again at each: lines `model/carried place bits` and `model/reset place bits`, for plot.py.
# DATA holds train/ and test/, folders of books as text; NESTOR is the command, OUT where runs go, STEPS how long they learn.
set -eu
here=$(dirname "$0")
nestor=${NESTOR:-nestor}
out=${OUT:-runs/positions}
mkdir -p "$out"
for model in "transformer --set depth=2" "titans" "hope"; do
    set -- $model
    name=$1
    shift
    run=$out/$name
    [ -f "$run/done" ] || $nestor train "$here/../$name.nest" "$@" --data "$DATA/train" --steps "${STEPS:-500}" --batch 4 --length 512 \
        --out "$run" --force > "$run.log" 2>&1
    touch "$run/done"
    $nestor eval "$run" --data "$DATA/test" --positions 512 --reach "${REACH:-8192}" --rows 8 --json > "$run.json"
    python3 - "$name" "$run.json" <<'END'
import json, sys
found = json.load(open(sys.argv[2]))
for way in ("carried", "reset"):
    for place, bits in enumerate(found[way]):
        print(f"{sys.argv[1]}/{way} {place * found['every']} {bits:.4f}")
END
done
