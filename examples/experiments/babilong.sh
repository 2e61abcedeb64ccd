#!/bin/sh
# Trains models of zoo.nest on BABILong's first three questions (bAbI's facts between sentences of books, byte by byte) and measures them
# on other stories in other books. One line a model and question: question, mixer, share of answers right.
# DATA holds babi/ and books/; NESTOR is the command, OUT where runs go, MODELS, QUESTIONS ("name:length"), STEPS and BATCH.
set -eu
here=$(dirname "$0")
nestor=${NESTOR:-nestor}
out=${OUT:-runs/babilong}
mkdir -p "$out"
for question in ${QUESTIONS:-qa1:512 qa2:1024 qa3:2048}; do
    name=${question%:*}
    length=${question#*:}
    for mixer in ${MODELS:-GatedDeltaRule DeepMemory Attention2}; do
        run=$out/$name-$mixer
        [ -f "$run/done" ] || $nestor train "$here/zoo.nest" --set mixer="$mixer" --task "babilong-$name:length=$length,test=${TEST:-400}" --data "$DATA" \
            --steps "${STEPS:-600}" --batch "${BATCH:-8}" --evaluate-every "${STEPS:-600}" --save-every "${STEPS:-600}" --out "$run" --force > "$run.log" 2>&1
        touch "$run/done"
        score=$($nestor eval "$run" --json | sed 's/.*"score":\([0-9.e-]*\).*/\1/')
        echo "$name $mixer $score"
    done
done
