#!/bin/sh
# Learns Banking77 (Casanueva et al. 2020, CC BY 4.0; DATA is the folder that holds banking77/train.csv and test.csv) eleven classes at
# a time, and prints after each stage the share of right answers on each stage so far: seed, model, stage learned, stage measured, score.
# NESTOR is the command, OUT where runs go, STEPS the steps of a stage, SEEDS which seeds, STAGES how many.
set -eu
here=$(dirname "$0")
nestor=${NESTOR:-nestor}
out=${OUT:-runs/classes}
steps=${STEPS:-96}
task() { echo "banking77:first=$(($1 * 11)),last=$(($1 * 11 + 11)),length=80,rows=16,test=${TEST:-400}"; }
mkdir -p "$out"
for seed in ${SEEDS:-0 1 2}; do
    for model in "hope Hope" "plain Plain" "transformer Plain --set mixer=Attention2"; do
        set -- $model
        name=$1
        entry=$2
        shift 2
        stage=0
        while [ "$stage" -lt "${STAGES:-7}" ]; do
            run=$out/$seed-$name-$stage
            from=
            [ "$stage" -gt 0 ] && from="--from $out/$seed-$name-$((stage - 1))"
            $nestor train "$here/classes.nest" "$entry" "$@" --task "$(task $stage)" --data "$DATA" --steps "$steps" \
                --evaluate-every "$steps" --save-every "$steps" --seed "$seed" --out "$run" --force $from > "$run.log" 2>&1
            before=0
            while [ "$before" -le "$stage" ]; do
                score=$($nestor eval "$run" --task "$(task $before)" --data "$DATA" --json | sed 's/.*"score":\([0-9.e-]*\).*/\1/')
                echo "$seed $name $stage $before $score"
                before=$((before + 1))
            done
            stage=$((stage + 1))
        done
    done
done
