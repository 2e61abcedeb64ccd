#!/bin/bash
# Tokens of a training step for each second of processor time over the length of sequences, at 8192 tokens a step: one line a layer and
# length. Processor time, so that other work on the machine matters little: what REPEATS steps take beyond one.
# NESTOR is the command, MODELS which layers, LENGTHS which lengths.
set -eu
here=$(dirname "$0")
nestor=${NESTOR:-nestor}
repeats=${REPEATS:-8}
TIMEFORMAT=%U
for mixer in ${MODELS:-GDN KDALayer Mamba2 RetNet TitansLMM TTTLinearLayer OmegaNet SelfAttention}; do
    for length in ${LENGTHS:-128 512 2048 8192}; do
        spent() {
            { time $nestor bench "$here/../language_model.nest" --set mixers="[$mixer]" --set d=64 --set depth=1 --batch $((8192 / length)) \
                --length "$length" --repeats "$1" > /dev/null 2>&1; } 2>&1
        }
        first=$(spent 1)
        echo "$mixer $length $first $(spent $((repeats + 1)))" | awk -v n="$repeats" '{ printf "%s %s %.0f\n", $1, $2, 8192 * n / ($4 - $3) }'
    done
done
