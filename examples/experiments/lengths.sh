#!/bin/sh
# Trains every model of zoo.nest on a needle in a haystack (RULER's S-NIAH, byte by byte) at 512 bytes and measures it there and in longer
# texts. One line a model and length: task, mixer, length, share of needles found.
# NESTOR is the command, OUT where runs go, TASK the needle (niah-2 and niah-3 take their text from DATA), MODELS, LENGTHS, STEPS, BATCH.
set -eu
here=$(dirname "$0")
nestor=${NESTOR:-nestor}
out=${OUT:-runs/lengths}
task=${TASK:-niah-1}
data=${DATA:+--data $DATA}
mkdir -p "$out"
for mixer in ${MODELS:-GatedDeltaRule DeltaRule Mamba2 DeepMemory DeepMemoryAsGate Attention2}; do
    run=$out/$task-$mixer
    [ -f "$run/done" ] || $nestor train "$here/zoo.nest" --set mixer="$mixer" --task "$task:length=512" $data --steps "${STEPS:-1000}" \
        --batch "${BATCH:-8}" --evaluate-every "${STEPS:-1000}" --save-every "${STEPS:-1000}" --out "$run" --force > "$run.log" 2>&1
    touch "$run/done"
    for length in ${LENGTHS:-512 1024 2048 4096}; do
        score=$($nestor eval "$run" --task "$task:length=512,test_length=$length" $data --json | sed 's/.*"score":\([0-9.e-]*\).*/\1/')
        echo "$task $mixer $length $score"
    done
done
