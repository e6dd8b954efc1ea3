#!/bin/sh
# BLEU for time: transformer_train and PyTorch, each trained for the same minutes on the same pairs,
# one after the other.
#
#     bench/quality.sh BUILD PYTHON TRAIN VALID TEST [MINUTES [SIZE]]
#
# PYTHON has torch, sentencepiece and sacrebleu. To see who reaches a score in half of the time, run
# it with half of the minutes.
set -eu
[ $# -ge 5 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
build=$1 python=$2 train=$3 valid=$4 test=$5 minutes=${6:-25} size=${7:-nano}
here=$(dirname "$0")
for file in "$train" "$valid" "$test"; do
    [ -r "$file" ] || { echo "quality.sh: skipped: there is no $file"; exit 77; }
done
threads=$(getconf _NPROCESSORS_ONLN)
echo "libtensor, $minutes minutes, $threads threads:"
"$build/examples/transformer_train" --train "$train" --valid "$valid" --test "$test" \
    --size "$size" --vocab 8000 --dropout 0.1 --lr 4e-3 --schedule linear --warmup 150 \
    --minutes "$minutes" --threads "$threads" | tail -n 15
echo "PyTorch, $minutes minutes, $threads threads:"
"$python" "$here/peers/torch_train.py" "$train" "$valid" "$test" \
    --size "$size" --vocab 8000 --dropout 0.1 --lr 4e-3 --warmup 150 \
    --minutes "$minutes" --threads "$threads" | tail -n 3
