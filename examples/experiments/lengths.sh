#!/bin/sh
# Trains models of zoo.nest on a needle in a haystack (RULER's S-NIAH, byte by byte), in stages of growing length, and measures them at
# the last of these and in longer texts. One line a model and length: task, mixer, length, share of needles found. Killed, it goes on.
# NESTOR is the command, OUT where runs go, TASK the needle (niah-2 and niah-3 take their text from DATA), OPTIONS those of the task (`brief=1`: the
# needle's own words are the question), MODEL which of zoo.nest learns (Reader the text as well, Zoo the answers alone), MODELS, STAGES
# ("length:steps"), LENGTHS and BATCH.
set -eu
here=$(dirname "$0")
nestor=${NESTOR:-nestor}
out=${OUT:-runs/lengths}
name=${TASK:-niah-1}
task=$name:${OPTIONS-brief=1},length
data=${DATA:+--data $DATA}
mkdir -p "$out"
for mixer in ${MODELS:-DeltaRule GatedDeltaRule Attention2}; do
    from=
    for stage in ${STAGES:-160:600 256:300}; do
        length=${stage%:*}
        steps=${stage#*:}
        run=$out/$name-$mixer-$length
        [ -f "$run/done" ] || $nestor train "$here/zoo.nest" "${MODEL:-Reader}" --set mixer="$mixer" --task "$task=$length" $data --steps "$steps" \
            --batch "${BATCH:-16}" --evaluate-every "$((steps / 4))" --save-every "$((steps / 4))" --out "$run" --resume $from > "$run.log" 2>&1
        touch "$run/done"
        from="--from $run"
    done
    for far in ${LENGTHS:-256 512 1024 2048}; do
        file=$run/score-$far
        [ -s "$file" ] || $nestor eval "$run" --task "$task=$length,test_length=$far" $data --json > "$file.new"
        [ -s "$file" ] || mv "$file.new" "$file"
        echo "$name $mixer $far $(sed 's/.*"score":\([0-9.e-]*\).*/\1/' "$file")"
    done
done
