#!/bin/sh
# Trains models of zoo.nest on questions of BABILong (bAbI's facts between sentences of books, byte by byte) and measures them on other
# stories in other books. One line a model and question: question, mixer, share of answers right. Killed, it goes on.
# DATA holds babi/ and books/; NESTOR is the command, OUT where runs go, MODEL which of zoo.nest learns (Zoo the answers alone, Reader the text as
# well), MODELS, QUESTIONS ("qa1:256 qa2:512": name and bytes), STEPS, BATCH and TEST.
set -eu
here=$(dirname "$0")
nestor=${NESTOR:-nestor}
out=${OUT:-runs/babilong}
steps=${STEPS:-300}
mkdir -p "$out"
for question in ${QUESTIONS:-qa1:256}; do
    name=${question%:*}
    length=${question#*:}
    for mixer in ${MODELS:-GatedDeltaRule DeepMemory Attention2}; do
        run=$out/$name-$mixer
        [ -f "$run/done" ] || $nestor train "$here/zoo.nest" "${MODEL:-Zoo}" --set mixer="$mixer" --task "babilong-$name:length=$length,test=${TEST:-400}" --data "$DATA" \
            --steps "$steps" --batch "${BATCH:-16}" --evaluate-every "$((steps / 3))" --save-every "$((steps / 3))" --out "$run" --resume > "$run.log" 2>&1
        touch "$run/done"
        file=$run/score
        [ -s "$file" ] || $nestor eval "$run" --json > "$file.new"
        [ -s "$file" ] || mv "$file.new" "$file"
        echo "$name $mixer $(sed 's/.*"score":\([0-9.e-]*\).*/\1/' "$file")"
    done
done
