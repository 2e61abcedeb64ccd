#!/bin/sh
# Learns Banking77 (Casanueva et al. 2020, CC BY 4.0; DATA is the folder that holds banking77/train.csv and test.csv, a part of it ships in
# examples/data) eleven classes at a time, each stage from where the one before ended, then measures. Lines `seed model/what stage share`:
#   own    right answers on a stage's classes right after it        own-among    the same, answers sought among the stage's classes
#   final  right answers on a stage's classes after the last stage  final-among  the same, answers sought among the stage's classes
#   seen   right answers on all classes so far, right after a stage
# NESTOR is the command, OUT where runs go, STEPS the steps of a stage, SEEDS which seeds, STAGES how many. Killed, it goes on.
# Means over seeds: classes.sh | python3 means.py
set -eu
here=$(dirname "$0")
nestor=${NESTOR:-nestor}
out=${OUT:-runs/classes}
data=${DATA:-$here/../data}
steps=${STEPS:-80}
last=$((${STAGES:-7} - 1))
stages=$(seq 0 "$last")
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
            task="banking77:first=$((stage * 11)),last=$((stage * 11 + 11)),length=80,rows=16,test=440"
            [ -f "$run/done" ] || $nestor train "$here/classes.nest" "$entry" "$@" --task "$task" --data "$data" --steps "$steps" \
                --evaluate-every "$steps" --save-every "$steps" --seed "$seed" --out "$run" --force $from > "$run.log" 2>&1
            touch "$run/done"
            from="--from $run"
        done
    done
done
# The share of right answers of the run after a stage ($1), on the classes from $2 up to $3, with more options of the task ($4).
score() {
    run=$out/$seed-$name-$1
    file=$run/score-$2-$3$4
    task="banking77:first=$2,last=$3,length=80,rows=40,test=$((($3 - $2) * 40))$4"
    [ -s "$file" ] || $nestor eval "$run" --task "$task" --data "$data" --json > "$file.new"
    [ -s "$file" ] || mv "$file.new" "$file"
    sed 's/.*"score":\([0-9.e-]*\).*/\1/' "$file"
}
for seed in ${SEEDS:-0 1 2}; do
    for name in hope plain transformer; do
        for stage in $stages; do
            first=$((stage * 11))
            echo "$seed $name/own $stage $(score "$stage" $first $((first + 11)) "")"
            echo "$seed $name/own-among $stage $(score "$stage" $first $((first + 11)) ,among=1)"
            echo "$seed $name/final $stage $(score "$last" $first $((first + 11)) "")"
            echo "$seed $name/final-among $stage $(score "$last" $first $((first + 11)) ,among=1)"
            echo "$seed $name/seen $stage $(score "$stage" 0 $((first + 11)) "")"
        done
    done
done
