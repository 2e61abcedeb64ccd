#!/bin/sh
# Trains every model of formal.nest on every formal language, and measures it on strings as long as those it learned from (bin 0)
# and on strings twice as long (bin 1). One line a run: language, model, share of whole strings right in either bin.
# NESTOR is the command, OUT where runs go, LANGUAGES and STEPS what is learned for how long.
set -eu
here=$(dirname "$0")
nestor=${NESTOR:-nestor}
out=${OUT:-runs/formal}
for language in ${LANGUAGES:-parity aa abab anbn anbncn shuffle-2}; do
    for model in "Hope SelfModifying1" "Others TitansMemory" "Others DeltaRule" "Others Gates" "Others Attention2"; do
        set -- $model
        run=$out/$language-$2
        [ -f "$run/done" ] || $nestor train "$here/formal.nest" "$1" --task "$language" --set mixer="$2" --steps "${STEPS:-800}" \
            --evaluate-every "${STEPS:-800}" --save-every "${STEPS:-800}" --out "$run" --force > "$run.log" 2>&1
        mkdir -p "$run" && touch "$run/done"
        score() { $nestor eval "$run" --task "$language:bin=$1" --json | sed 's/.*"score":\([0-9.]*\).*/\1/'; }
        echo "$language $2 $(score 0) $(score 1)"
    done
done
