#!/bin/sh
# Learns Banking77 (Casanueva et al. 2020, CC BY 4.0; DATA is the folder that holds banking77/train.csv and test.csv) eleven classes at
# a time, then prints for each stage the share of right answers on each stage so far: seed, model, stage learned, stage measured, score.
# NESTOR is the command, OUT where runs go, STEPS the steps of a stage, SEEDS which seeds, STAGES how many. Killed, it goes on.
set -eu
here=$(dirname "$0")
nestor=${NESTOR:-nestor}
out=${OUT:-runs/classes}
steps=${STEPS:-80}
stages=$(seq 0 $((${STAGES:-7} - 1)))
task() { echo "banking77:first=$(($1 * 11)),last=$(($1 * 11 + 11)),length=80,rows=16,test=${TEST:-440}"; }
mkdir -p "$out"
for seed in ${SEEDS:-0 1 2}; do
    for model in "hope Hope" "plain Plain" "transformer Plain --set mixer=Attention2"; do
        set -- $model
        name=$1
        entry=$2
        shift 2
        from=
        for stage in $stages; do
            run=$out/$seed-$name-$stage
            [ -f "$run/done" ] || $nestor train "$here/classes.nest" "$entry" "$@" --task "$(task "$stage")" --data "$DATA" --steps "$steps" \
                --evaluate-every "$steps" --save-every "$steps" --seed "$seed" --out "$run" --force $from > "$run.log" 2>&1
            touch "$run/done"
            from="--from $run"
        done
    done
done
[ -z "${ONLY_TRAIN:-}" ] || exit 0
for seed in ${SEEDS:-0 1 2}; do
    for name in hope plain transformer; do
        for stage in $stages; do
            for before in $(seq 0 "$stage"); do
                run=$out/$seed-$name-$stage
                [ -f "$run/score-$before" ] || $nestor eval "$run" --task "$(task "$before")" --data "$DATA" --json > "$run/score"
                [ -f "$run/score-$before" ] || mv "$run/score" "$run/score-$before"
                echo "$seed $name $stage $before $(sed 's/.*"score":\([0-9.e-]*\).*/\1/' "$run/score-$before")"
            done
        done
    done
done
