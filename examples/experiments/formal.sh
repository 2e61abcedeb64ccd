#!/bin/sh
# Trains every model of formal.nest on every formal language, and measures it on strings as long as those it learned from (bin 0)
# and on strings twice as long (bin 1). One line a run: language, model, share of whole strings right in either bin, or why there is none.
# NESTOR is the command, OUT where runs go, LANGUAGES, MODELS and STEPS what is learned by what for how long. Killed, it goes on.
set -eu
here=$(dirname "$0")
nestor=${NESTOR:-nestor}
out=${OUT:-runs/formal}
steps=${STEPS:-800}
mkdir -p "$out"
for model in ${MODELS:-Gates DeltaRule Attention2 TitansMemory Reflecting1 Bounded1 SelfModifying1}; do
    case $model in Reflecting1 | Bounded1 | SelfModifying1) entry=Hope ;; *) entry=Others ;; esac
    for language in ${LANGUAGES:-parity aa abab anbn anbncn shuffle-2}; do
        run=$out/$language-$model
        if [ ! -f "$run.scores" ]; then
            if $nestor train "$here/formal.nest" "$entry" --task "$language" --set mixer="$model" --steps "$steps" \
                --evaluate-every "$steps" --save-every "$steps" --out "$run" --force > "$run.log" 2>&1; then
                score() { $nestor eval "$run" --task "$language:bin=$1" --json | sed 's/.*"score":\([0-9.e-]*\).*/\1/'; }
                echo "$(score 0) $(score 1)" > "$run.scores"
            else
                grep -m 1 '^error' "$run.log" > "$run.scores"
            fi
        fi
        echo "$language $model $(cat "$run.scores")"
    done
done
