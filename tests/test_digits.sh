#!/bin/sh
# The example digits as a user runs it: test_digits.sh DIGITS. It learns, keeps its weights, and
# tells what is wrong with its files.
set -u
digits=$1 failed=0
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
fail() { echo "FAILED: $1"; failed=1; cat "$dir/out.txt"; }
contains() { grep -q -- "$1" "$dir/out.txt" || fail "expected a line with \"$1\""; }

# 64 images of 8 x 8: a bright half, the left one (0) or the right one (1).
printf '\0\0\010\003\0\0\0\100\0\0\0\010\0\0\0\010' > "$dir/images"
printf '\0\0\010\001\0\0\0\100' > "$dir/labels"
left= right=
for i in 1 2 3 4 5 6 7 8; do
    left="$left\\377\\377\\377\\377\\0\\0\\0\\0"
    right="$right\\0\\0\\0\\0\\377\\377\\377\\377"
done
for i in $(seq 32); do
    printf "$left$right" >> "$dir/images"
    printf '\0\001' >> "$dir/labels"
done
data="--train $dir/images --train-labels $dir/labels"
tried="--test $dir/images --test-labels $dir/labels"

$digits $data $tried --batch 10 --channels 4 --epochs 3 --save "$dir/a.safetensors" \
    > "$dir/out.txt" 2>&1 || fail "training"
contains "64 images of 8 x 8, 414 parameters"
contains "epoch 3 of 3: loss"
contains "test: 64 of 64 right, 100.00 %"
$digits $data $tried --channels 4 --epochs 0 --load "$dir/a.safetensors" > "$dir/out.txt" 2>&1 ||
    fail "testing alone"
contains "test: 64 of 64 right"

wrong() {
    expected=$1
    shift
    $digits "$@" > "$dir/out.txt" 2>&1 && fail "$* ended with 0"
    contains "$expected"
}
wrong "--train is missing"
wrong "--test-labels is missing" $data --test "$dir/images"
wrong "images are bytes \[n, height, width\]" --train "$dir/labels" --train-labels "$dir/labels"
wrong "labels are bytes \[n\]" --train "$dir/images" --train-labels "$dir/images"
head -c 50 "$dir/images" > "$dir/cut"
wrong "cut: fewer bytes than its dimensions say" --train "$dir/cut" --train-labels "$dir/labels"
printf '\0\0\010\001\0\0\0\001\0' > "$dir/one"
wrong "there are not as many labels as images" --train "$dir/images" --train-labels "$dir/one"
wrong "a.safetensors" $data --channels 5 --load "$dir/a.safetensors"
printf '\0\0\010\003\0\0\0\001\0\0\0\002\0\0\0\002\1\2\3\4' > "$dir/small"
wrong "images of another size than" $data --test "$dir/small" --test-labels "$dir/one"
wrong "windows of 2" --train "$dir/small" --train-labels "$dir/one"
exit $failed
