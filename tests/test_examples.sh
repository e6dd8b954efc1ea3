#!/bin/sh
# The examples as a user runs them, with small settings: test_examples.sh TRAIN TRANSLATE GPT
# What is checked: a training learns and saves; a resumed one ends with the same bytes as one that
# was never stopped; Ctrl-C saves; translating works from the file; what is wrong is told in words.
set -u
train=$1 translate=$2 gpt=$3 failed=0
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
fail() { echo "FAILED: $1"; failed=1; }
contains() { grep -q -- "$2" "$1" || { fail "$1: expected a line with \"$2\""; cat "$1"; }; }

# begin_until LINE FILE COMMAND..: runs it into FILE, as $pid, until LINE is there or two minutes are
# over: under sanitizers, on a busy machine, it may take one.
begin_until() {
    line=$1 file=$2 tries=1200
    shift 2
    rm -f "$file" # of one before it, which may have that line
    "$@" > "$file" 2>&1 &
    pid=$!
    while [ $tries -gt 0 ] && ! grep -q "$line" "$file" 2> /dev/null; do
        tries=$((tries - 1))
        sleep 0.1
    done
}

# interrupt_at LINE FILE COMMAND..: presses Ctrl-C then. It may have ended by itself before. Gives
# its exit status.
interrupt_at() {
    begin_until "$@"
    kill -INT $pid 2> /dev/null
    wait $pid
}

printf 'un chat\ta cat\nun chien\ta dog\nle chat\tthe cat\nle chien\tthe dog\n' > "$dir/pairs.tsv"
for i in 1 2 3 4; do cat "$dir/pairs.tsv"; done > "$dir/many.tsv"

small="--size micro --pairs 2000 --vocab 400 --tokens 512 --test-pairs 20 --valid-every 20
       --schedule constant --warmup 5 --threads 2 --ema 0.9"

# 40 steps, and 20 with 20 more after them: the same models.
$train $small --steps 40 --save "$dir/whole" > "$dir/whole.txt" 2>&1 ||
    fail "training ended with $?"
contains "$dir/whole.txt" "step 40/40 *loss\|step 40  validation perplexity"
contains "$dir/whole.txt" "held-out: exact .* % of 20 sentences"
$train $small --steps 20 --save "$dir/half" > "$dir/half.txt" 2>&1 ||
    fail "half a training ended with $?"
$train --resume "$dir/half" --steps 40 --threads 1 > "$dir/rest.txt" 2>&1 ||
    fail "resuming ended with $?"
contains "$dir/rest.txt" "resumed after step 20"
cmp "$dir/whole/best.safetensors" "$dir/half/best.safetensors" ||
    fail "the resumed model is another one"

# What a kill while saving has left is removed by who goes on, and nothing else is.
left="last.safetensors.123-0.tmp best.safetensors.4-17.tmp"
kept="last.safetensors.tmp last.safetensors.1-0.tmp.mine other.safetensors.1-0.tmp"
for file in $left $kept; do : > "$dir/half/$file"; done
$train --resume "$dir/half" --steps 40 > /dev/null 2>&1 || fail "resuming where something is left"
for file in $left; do [ ! -e "$dir/half/$file" ] || fail "$file is still there"; done
for file in $kept; do [ -e "$dir/half/$file" ] || fail "$file is removed"; rm "$dir/half/$file"; done

# Of --steps and --minutes what ends first is what is left.
$train $small --steps 2 --minutes 5000 --report-every 1 > "$dir/out.txt" 2>&1 || fail "both limits"
contains "$dir/out.txt" "^step 2/2 .* left 0:00"

# A disk that is full: the line before what is said about it has its end.
(
    trap '' XFSZ
    ulimit -f 100
    $train $small --steps 1 --valid-every 1 --save "$dir/too_large" > "$dir/out.txt" 2>&1
) && fail "saving more than there is room for ended with 0"
contains "$dir/out.txt" "^step 1  validation perplexity .*, the best$"
[ -z "$(tail -c 1 "$dir/out.txt")" ] || fail "a line without an end"
contains "$dir/out.txt" "^transformer_train: cannot write .*best.safetensors"

# One is one, and a number that is very large takes no line of digits.
head -1 "$dir/pairs.tsv" > "$dir/one.tsv"
$train --train "$dir/one.tsv" --test "$dir/one.tsv" --size micro --vocab 300 --threads 1 --steps 1 \
    > "$dir/out.txt" 2>&1 || fail "a corpus of one pair"
contains "$dir/out.txt" "^1 pair, 0 left out .* 1 thread, "
contains "$dir/out.txt" "of 1 sentence$"
$train $small --lr 5 --steps 40 --report-every 1 > "$dir/out.txt" 2>&1
awk 'length($0) > 200 { exit 1 }' "$dir/out.txt" || { fail "a line of digits"; cat "$dir/out.txt"; }

# What is given beside --resume counts, and the file says so; the file's own values change nothing.
$train --resume "$dir/half" --steps 42 > /dev/null 2>&1 || fail "resuming again"
for with in as_it_was "--clip 1 --dropout 0.1 --schedule constant" "--clip 0.01" \
    "--weight-decay 0.5" "--ema 0.5" "--beta2 0.9" "--label-smoothing 0.3"; do
    given=$with
    [ "$given" = as_it_was ] && given=
    rm -rf "$dir/with"
    cp -r "$dir/half" "$dir/with"
    $train --resume "$dir/with" --steps 44 $given --valid-every 1 > "$dir/rest.txt" 2>&1 ||
        fail "resuming with $given"
    if [ "$with" = as_it_was ]; then
        cp "$dir/with/best.safetensors" "$dir/as_it_was.safetensors"
    elif [ "${with#*dropout}" != "$with" ]; then
        cmp "$dir/with/best.safetensors" "$dir/as_it_was.safetensors" || fail "the same $with"
    else
        cmp -s "$dir/with/best.safetensors" "$dir/as_it_was.safetensors" && fail "$with: no effect"
        said=$(echo "${with#--}" | tr ' ' =)
        grep -aq "$said" "$dir/with/last.safetensors" || fail "the file does not say $said"
    fi
done

# An average, clipping and accumulating may begin, change and end there too. What has begun is saved
# with the rest: stopped once more, the training ends with the same model.
bare="--train $dir/many.tsv --size micro --vocab 300 --max-length 20 --tokens 256 --warmup 2
      --schedule constant --threads 2"
$train $bare --clip 0 --steps 4 --save "$dir/bare" > /dev/null 2>&1 || fail "a bare training"
$train $bare --clip 0.5 --ema 0.5 --accumulate 2 --steps 4 --save "$dir/full" > /dev/null 2>&1 ||
    fail "a full training"
# resume_with FOLDER STEPS OPTION..: goes on with a copy of FOLDER, in $dir/with, to STEPS
resume_with() {
    rm -rf "$dir/with"
    cp -r "$dir/$1" "$dir/with"
    steps=$2
    shift 2
    $train --resume "$dir/with" --steps $steps "$@" > "$dir/rest.txt" 2>&1 ||
        { fail "resuming with $*"; cat "$dir/rest.txt"; }
}
for from in bare full; do
    resume_with $from 8
    cp "$dir/with/best.safetensors" "$dir/$from.safetensors"
done
for change in "bare --ema 0.9" "bare --clip 0.01" "bare --accumulate 3" \
    "bare --ema 0.9 --clip 0.01 --accumulate 2" "full --ema 0" "full --clip 0" \
    "full --accumulate 1" "full --ema 0.1" "full --clip 0.01" "full --accumulate 3" \
    "full --ema 0 --clip 0 --accumulate 1"; do
    from=${change%% *} with=${change#* }
    resume_with $from 8 $with
    cp "$dir/with/best.safetensors" "$dir/with.safetensors"
    cmp -s "$dir/with.safetensors" "$dir/$from.safetensors" && fail "$change: no effect"
    resume_with $from 6 $with
    $train --resume "$dir/with" --steps 8 > "$dir/rest.txt" 2>&1 || fail "resuming after $change"
    cmp "$dir/with.safetensors" "$dir/with/best.safetensors" || fail "$change, and stopped again"
done
# an average that begins is the weights, until there is a step
resume_with bare 4 --ema 0.9
cmp "$dir/with/best.safetensors" "$dir/bare/best.safetensors" || fail "an average before a step"

# A few seconds of training translate what was held out: 95 % at least, word for word.
$train --d-model 64 --ff 128 --layers 1 --lr 0.006 --tokens 1024 --steps 500 --dropout 0 \
    --warmup 50 --label-smoothing 0.05 --test-pairs 300 > "$dir/learnt.txt" 2>&1 || fail "learning"
contains "$dir/learnt.txt" "Je suis étudiant -> I am a student"
tail -1 "$dir/learnt.txt" |
    awk '/^held-out: exact [0-9.]+ % of 300 sentences$/ && $3 >= 95 { ok = 1 } END { exit !ok }' ||
    { fail "held-out sentences: expected 95 % or more"; tail -2 "$dir/learnt.txt"; }

# Ctrl-C ends after the step, with all saved.
interrupt_at "^step 1/" "$dir/plain.txt" $train $small --steps 1000000 --minutes 1 --save "$dir/stopped"
[ $? = 130 ] || fail "Ctrl-C: not 130"
contains "$dir/plain.txt" "to go on: transformer_train --resume"
[ -s "$dir/stopped/last.safetensors" ] || fail "Ctrl-C saved nothing"

# So do a kill and a terminal that is gone. Both may come twice by themselves, and wait.
for given in "TERM 143" "HUP 129"; do
    signal=${given% *}
    sh -c "kill -$signal \$\$; sleep 1; exit 7" 2> /dev/null
    [ $? = 7 ] && continue # this test was begun to live on, as by nohup
    begin_until "^step 1/" "$dir/killed.txt" \
        $train $small --steps 1000000 --minutes 1 --save "$dir/$signal"
    kill -$signal $pid
    kill -$signal $pid 2> /dev/null
    wait $pid
    status=$?
    [ $status = ${given#* } ] || fail "$signal: expected ${given#* }, got $status"
    contains "$dir/killed.txt" "to go on: transformer_train --resume .*/$signal"
    [ -s "$dir/$signal/last.safetensors" ] || fail "$signal saved nothing"
done
# And a reader of the output that is gone, as of a pipe.
{
    $train $small --steps 1000000 --minutes 1 --report-every 1 --save "$dir/pipe" 2> "$dir/wrong.txt"
    echo $? > "$dir/status.txt"
} | head -1 > /dev/null
status=$(cat "$dir/status.txt")
[ "$status" = 141 ] || fail "a closed pipe: expected 141, got $status"
contains "$dir/wrong.txt" "the standard output cannot be written"
[ -s "$dir/pipe/last.safetensors" ] || fail "a closed pipe: nothing is saved"

# Within an update of many batches: it has not begun, and the same batches come again.
$train $bare --accumulate 2 --steps 4 --save "$dir/never" > /dev/null 2>&1 || fail "two batches"
interrupt_at "pairs, 0 left out" "$dir/stopped.txt" \
    $train $bare --accumulate 65536 --steps 4 --save "$dir/within"
[ $? = 130 ] || fail "Ctrl-C within an update: not 130"
contains "$dir/stopped.txt" "stopped after step 0; to go on"
$train --resume "$dir/within" --accumulate 2 > "$dir/rest.txt" 2>&1 || fail "resuming an update"
cmp "$dir/never/best.safetensors" "$dir/within/best.safetensors" ||
    fail "an update that was given up has left something"
$train $bare --accumulate 65536 --minutes 0.002 > "$dir/out.txt" 2>&1 ||
    fail "minutes that end within an update"

# What it says to go on with is for a shell, whatever the folder is called; a plain name stays as it
# is.
odd="it's a \"run\"; \$HOME \\ * ~ é"
contains "$dir/plain.txt" "--resume [^'\"]*/stopped$"
interrupt_at "^step 1/" "$dir/odd.txt" $train $small --steps 1000000 --minutes 1 --save "$dir/$odd"
said=$(sed -n "s|.*to go on: transformer_train||p" "$dir/odd.txt")
eval "$train $said --steps 1" > "$dir/rest.txt" 2>&1 || fail "resuming as it said:$said"
contains "$dir/rest.txt" "resumed after step"

# Also before the first step: a corpus that comes late leaves the time for it.
mkfifo "$dir/late.tsv"
$train --train "$dir/late.tsv" --size micro --vocab 300 --max-length 20 --tokens 256 --steps 4 \
    --save "$dir/early" > "$dir/early.txt" 2>&1 &
pid=$!
exec 3> "$dir/late.tsv" # waits for who reads
kill -INT $pid
cat "$dir/many.tsv" >&3
exec 3>&-
wait $pid
[ $? = 130 ] || fail "Ctrl-C before the first step: not 130"
contains "$dir/early.txt" "stopped after step 0; to go on: transformer_train --resume"
$train --resume "$dir/early" --train "$dir/many.tsv" > "$dir/early.txt" 2>&1 ||
    fail "resuming before the first step"
contains "$dir/early.txt" "resumed after step 0"

# And while the test is translated, which would take half a minute.
interrupt_at " -> " "$dir/stopped.txt" $train --size micro --pairs 2000 --vocab 300 --steps 1 \
    --test-pairs 20000 --beam 8
[ $? = 130 ] || fail "Ctrl-C while translating: not 130"
contains "$dir/stopped.txt" "stopped while translating"

# A training that diverges says so, and leaves what was saved.
cp "$dir/half/last.safetensors" "$dir/good.safetensors"
for steps in 43 60; do # at the save behind the first step, and long before one
    $train --resume "$dir/half" --steps $steps --lr 1e30 --valid-every 1000 --save-every 1000 \
        > "$dir/wrong.txt" 2>&1 && fail "diverging ended with 0"
    contains "$dir/wrong.txt" "the training has diverged: after step .* A lower --lr than 1e+30"
    contains "$dir/wrong.txt" "last.safetensors holds step 42"
    cmp "$dir/half/last.safetensors" "$dir/good.safetensors" || fail "a bad model was saved"
done

# Another layout, another optimizer's settings, a corpus from files.
$train --train "$dir/many.tsv" --valid "$dir/pairs.tsv" --test "$dir/pairs.tsv" \
    --vocab 300 --size micro --layers 1 --layout padded --max-length 20 --tokens 256 \
    --accumulate 2 --steps 250 --lr 0.01 --schedule cosine --warmup 20 --dropout 0 --beam 4 \
    --bleu --valid-every 250 --save "$dir/cat" > "$dir/cat.txt" 2>&1 ||
    fail "a corpus from files"
contains "$dir/cat.txt" "BLEU"
contains "$dir/cat.txt" "held-out: exact 100.0 % of 4 sentences"

# Translating.
printf 'le chat\n\nun chien\n' |
    $translate --model "$dir/cat/best.safetensors" > "$dir/out.txt" 2>&1 || fail "translating"
printf 'the cat\n\na dog\n' | cmp - "$dir/out.txt" || { fail "translations"; cat "$dir/out.txt"; }
printf 'le chat\n' |
    $translate --model "$dir/cat/last.safetensors" --beam 3 --n-best 2 > "$dir/out.txt" 2>&1
[ "$(wc -l < "$dir/out.txt")" = 2 ] || fail "two translations"
contains "$dir/out.txt" "^1.*the cat$"

# One line comes out for each that went in, whatever the model says: here a carriage return.
printf 'un\tone\rtwo\n' > "$dir/cr.tsv"
$train --train "$dir/cr.tsv" --size micro --vocab 270 --max-length 20 --tokens 64 --steps 60 \
    --lr 0.01 --warmup 5 --dropout 0 --save "$dir/cr" > "$dir/cr.txt" 2>&1 ||
    fail "a training on a carriage return"
echo un | $translate --model "$dir/cr/best.safetensors" > "$dir/out.txt" 2>&1
echo "one two" | cmp - "$dir/out.txt" || { fail "a carriage return"; cat "$dir/out.txt"; }

# An answer does not wait for the next line, and is the same as in company.
best="$translate --model $dir/cat/best.safetensors --beam 3 --n-best 3"
mkfifo "$dir/lines"
$best < "$dir/lines" > "$dir/answers.txt" 2>&1 &
pid=$!
exec 3> "$dir/lines"
n=0
for line in "le chat" "un chien" "" "chien le chat"; do
    echo "$line" >&3
    n=$((n + 1)) tries=100
    while [ $tries -gt 0 ] && [ "$(grep -c "^$n" "$dir/answers.txt")" != 3 ]; do
        tries=$((tries - 1))
        sleep 0.1
    done
    [ $tries -gt 0 ] || fail "no answer to line $n after 10 s"
done
exec 3>&-
wait $pid || fail "line by line: ended with $?"
printf 'le chat\nun chien\n\nchien le chat\n' | $best > "$dir/out.txt" 2>&1
cmp "$dir/out.txt" "$dir/answers.txt" || fail "an answer depends on when its line came"

# Lines that are too long are told, each of a few and how many.
for i in 1 2 3 4 5 6 7; do echo "jamais vu: zyxwvutsrqponmlkji"; echo "le chat"; done |
    $translate --model "$dir/cat/best.safetensors" > "$dir/out.txt" 2> "$dir/told.txt"
[ "$(wc -l < "$dir/out.txt")" = 14 ] || fail "14 lines"
[ "$(wc -l < "$dir/told.txt")" = 6 ] || { fail "six words on seven lines"; cat "$dir/told.txt"; }
contains "$dir/told.txt" "line 3 is cut: it has [0-9]* tokens, the model reads 21$"
contains "$dir/told.txt" "7 lines are cut$"

# A folder has one training at a time: others are refused until that has ended, however it did.
# (By step 40 that of step 20 is saved.)
begin_until "^step 40 " "$dir/first.txt" $train $small --steps 1000000 --minutes 5 --save "$dir/shared"
for given in "$small --steps 1 --save" "--steps 1 --resume"; do
    $train $given "$dir/shared" > "$dir/wrong.txt" 2>&1 && fail "two trainings in one folder"
    contains "$dir/wrong.txt" "shared: another training saves there"
    grep "holds step" "$dir/wrong.txt" && fail "it tells what it does not know"
done
kill -KILL $pid
wait $pid 2> /dev/null
$train --resume "$dir/shared" --steps 1 > "$dir/rest.txt" 2>&1 || fail "resuming what was killed"
# What is there is not lost to a new training; a folder that was made for nothing does not stay.
cp "$dir/shared/last.safetensors" "$dir/was.safetensors"
$train $small --steps 1 --save "$dir/shared" > "$dir/wrong.txt" 2>&1 &&
    fail "saving over a training"
contains "$dir/wrong.txt" "last.safetensors is there: go on with --resume .*/shared, save to"
cmp "$dir/shared/last.safetensors" "$dir/was.safetensors" || fail "a training is written over"
$train --train "$dir/none.tsv" --steps 1 --save "$dir/new" > "$dir/wrong.txt" 2>&1
[ -e "$dir/new" ] && fail "an empty folder stays"

# changed FOLDER CHANGE: the folder as $dir/with, its state changed by sed in as many bytes
changed() {
    rm -rf "$dir/with"
    cp -r "$dir/$1" "$dir/with"
    LC_ALL=C sed "s/$2/" "$dir/$1/last.safetensors" > "$dir/with/last.safetensors"
    cmp -s "$dir/$1/last.safetensors" "$dir/with/last.safetensors" && fail "nothing to change: $2"
}
# Options that an older file does not have are those of a new training.
for change in report-every=100/threads=00000002 save-every=20/threads=00002 \
    valid-every=20/threads=000002 000alr=0.003/000abeam=001; do
    changed half "$change"
    $train --resume "$dir/with" --steps 44 > "$dir/rest.txt" 2>&1 || fail "resuming with $change"
    grep -q "lr 0.00e" "$dir/rest.txt" && fail "a rate of 0: $change"
done
# Where the training was is not believed as it is.
for change in step=4/step=- 'spent=[0-9]/spent=-' 'spent=[0-9].[0-9]/spent=nan' \
    'best=[0-9]/best=-' 'best=\([0-9.]\{3\}\)/best=nan' 'valid=[0-9a-f]/valid=x' \
    epoch=[0-9]/epoch=-; do
    changed half "$change"
    $train --resume "$dir/with" --steps 44 > "$dir/wrong.txt" 2>&1 && fail "resuming with $change"
    contains "$dir/wrong.txt" "with/last.safetensors: where the training was is not in it, or"
done
# Patience ends a training, and more of it goes on.
$train $small --lr 0.5 --valid-every 2 --patience 1 --steps 400 --save "$dir/patient" \
    > "$dir/out.txt" 2>&1 || fail "a training of little patience"
contains "$dir/out.txt" "no better in 1 validation: it ends here"
grep -q "step 400" "$dir/out.txt" && fail "patience without end"
$train --resume "$dir/patient" > "$dir/rest.txt" 2>&1 || fail "resuming without patience left"
contains "$dir/rest.txt" "where it ends: more --steps, --epochs, --minutes or --patience go on"
$train --resume "$dir/patient" --patience 2 --steps 402 > "$dir/rest.txt" 2>&1 ||
    fail "resuming with more patience"
contains "$dir/rest.txt" "^step [0-9]*  validation perplexity"
wrong_early=$($train --train "$dir/pairs.tsv" --patience 1 --steps 1 2>&1) && fail "patience alone"
case $wrong_early in *"--patience wants --valid"*) ;; *) fail "$wrong_early" ;; esac
# Epochs are passes over the pairs, and more of them go on.
$train $small --epochs 2 --save "$dir/epochs" > "$dir/out.txt" 2>&1 || fail "a training of 2 epochs"
grep -a -q "epoch=2[^0-9]" "$dir/epochs/last.safetensors" || fail "2 epochs are others"
$train --resume "$dir/epochs" --epochs 3 > "$dir/rest.txt" 2>&1 || fail "a third epoch"
grep -a -q "epoch=3[^0-9]" "$dir/epochs/last.safetensors" || fail "3 epochs are others"
$train --resume "$dir/epochs" --epochs 5 --accumulate 4 > "$dir/rest.txt" 2>&1 || fail "a fifth epoch"
grep -a -q "epoch=5[^0-9]" "$dir/epochs/last.safetensors" || fail "5 epochs, with other updates, are others"
wrong_early=$($train --epochs 1 --steps 1 2>&1) && fail "epochs and steps"
case $wrong_early in *"--steps 1 and --epochs 1: one of them is to be 0"*) ;; *) fail "$wrong_early" ;; esac
# The best of other pairs does not count.
$train --resume "$dir/cat" --steps 251 --valid "$dir/many.tsv" > "$dir/rest.txt" 2>&1 ||
    fail "resuming with other pairs to validate on"
contains "$dir/rest.txt" "other pairs to validate on: the best perplexity of before does not count"
contains "$dir/rest.txt" "step 251  validation perplexity .*, the best"

# A language model: stopped after some steps and resumed on one thread it is the same; it writes.
micro="--d-model 32 --heads 2 --layers 1 --length 32 --rows 4 --vocab 300 --dropout 0.1 --tokens 20"
$gpt $micro --steps 3000 --save "$dir/gpt.st" > "$dir/gpt.txt" 2>&1 || fail "gpt ended with $?"
contains "$dir/gpt.txt" "^saved in .*gpt.st"
contains "$dir/gpt.txt" "held-out: perplexity"
$gpt $micro --steps 1 --save "$dir/gpt.st" > "$dir/out.txt" 2>&1 && fail "gpt began anew over a model"
contains "$dir/out.txt" "gpt.st: it is there: go on with --model"
interrupt_at "^step 100" "$dir/gpt_cut.txt" $gpt $micro --steps 3000 --save "$dir/cut.st"
contains "$dir/gpt_cut.txt" "stopped; to go on: gpt --model"
$(sed -n "s|.*to go on: gpt|$gpt --threads 1|p" "$dir/gpt_cut.txt") > "$dir/rest.txt" 2>&1 ||
    fail "gpt resumed as it said"
cmp "$dir/gpt.st" "$dir/cut.st" || fail "the resumed gpt is another one"
interrupt_at "^step 100" "$dir/odd.txt" $gpt $micro --steps 1000000 \
    --save "$dir/$odd.st"
contains "$dir/odd.txt" "to go on: gpt --model '"
said=$(sed -n "s|.*to go on: gpt||p" "$dir/odd.txt")
eval "$gpt $said --steps 1 --tokens 2" > "$dir/rest.txt" 2>&1 || fail "gpt going on as it said:$said"
# The time left is told by the steps since it went on, also where they are fewer than of other reports.
$gpt $micro --steps 198 --save "$dir/late.st" --tokens 2 > /dev/null 2>&1 || fail "gpt, 198 steps"
interrupt_at "^step 300" "$dir/late.txt" $gpt --model "$dir/late.st" --steps 100000000
awk '/^step / { split($NF, t, ":"); left[$2] = 60 * t[1] + t[2] }
     END { exit !(left[200] > left[300] / 5) }' "$dir/late.txt" ||
    { fail "the time left of a gpt that goes on"; cat "$dir/late.txt"; }

$gpt --model "$dir/gpt.st" --prompt "The dog" --temperature 0 --tokens 8 > "$dir/out.txt" 2>&1 ||
    fail "gpt writing"
contains "$dir/out.txt" "^The dog."
# what --save asks for is there without a step too: the same model, or with the settings given
$gpt --model "$dir/gpt.st" --save "$dir/copy.st" --tokens 2 > "$dir/out.txt" 2>&1 ||
    fail "gpt saving without a step"
cmp "$dir/gpt.st" "$dir/copy.st" || fail "gpt saved another model without a step"
$gpt --model "$dir/gpt.st" --save "$dir/copy.st" --lr 0.001 --tokens 2 > "$dir/out.txt" 2>&1 ||
    fail "gpt saving with a setting"
grep -aq "lr=0.001" "$dir/copy.st" || fail "the gpt saved without a step does not say lr=0.001"
$gpt --model "$dir/copy.st" --save "$dir/copy.st" --steps 3002 --tokens 2 > "$dir/out.txt" 2>&1 ||
    fail "gpt going on with what was saved without a step"
for steps in 3001 3200; do # at the save behind the first step, and before one
    $gpt --model "$dir/cut.st" --steps $steps --lr 1e30 --save "$dir/cut.st" > "$dir/wrong.txt" \
        2>&1 && fail "a gpt that diverges ended with 0"
    contains "$dir/wrong.txt" "the training has diverged: after step"
    contains "$dir/wrong.txt" "cut.st holds step 3000"
    cmp "$dir/gpt.st" "$dir/cut.st" || fail "a bad gpt was saved"
done

# Options of any length are kept. Another text begins with a fresh epoch, wherever the first was.
long=$dir/$(printf '%2000s' '' | sed 's|  |./|g')
for i in $(seq 300); do echo "The cat sees dog $i, and the dog sees cat $((3 * i))."; done \
    > "$dir/text.txt"
$gpt $micro --text "$long/text.txt" --steps 30 --save "$dir/text.st" > "$dir/out.txt" 2>&1 ||
    fail "gpt on a text"
$gpt --model "$dir/text.st" --save "$dir/text.st" --steps 31 --tokens 2 > "$dir/rest.txt" 2>&1 ||
    fail "gpt going on with a text"
grep -q "another" "$dir/rest.txt" && fail "the same text is another"
grep -aq "rows=4" "$dir/text.st" || fail "options behind a long one are not kept"
head -c 6000 "$dir/text.txt" > "$dir/part.txt"
for given in "--text $dir/part.txt" "--rows 2"; do
    $gpt --model "$dir/text.st" --steps 32 --tokens 2 $given > "$dir/rest.txt" 2>&1 ||
        fail "gpt going on with $given"
    contains "$dir/rest.txt" "another --text, --rows or --seed than before: epoch 1 begins"
done
LC_ALL=C sed 's/"position":"0 /"position":"0x/' "$dir/text.st" > "$dir/damaged.st"
# What is wrong.
wrong() {
    want=$1
    shift
    "$@" > "$dir/wrong.txt" 2>&1 < /dev/null && fail "$* ended with 0"
    contains "$dir/wrong.txt" "$want"
}
wrong "there is no option --stepz" $train --stepz 3
wrong "--steps wants a whole number of 0 or more, not x" $train --steps x
wrong "--tokens wants a whole number from 1 to 1073741824, not -3" $train --tokens -3
wrong "--max-length wants a whole number from 1 to" $train --max-length 9223372036854775807
wrong "--beam wants a whole number from 1 to 32, not 33" $train --beam 33
for option in pairs test-pairs d-model; do wrong "wants a whole number from 1" $train --$option 0; done
wrong "^transformer_train: --size huge: it is one of micro|nano" $train --size huge
wrong "none.tsv" $train --train "$dir/none.tsv" --steps 1
printf 'no tab here\n' > "$dir/bad.tsv"
wrong "bad.tsv:1: expected one tab, found 0" $train --train "$dir/bad.tsv" --steps 1
wrong "d_model 32 is not a multiple of 3 heads" $train --size micro --heads 3 --steps 1
wrong "say how long to train" $train --train "$dir/pairs.tsv"
wrong "last.safetensors" $train --resume "$dir/nowhere"
wrong "have changed" $train --resume "$dir/cat" --train "$dir/pairs.tsv"
for given in "pairs 1900" "size nano" "d-model 64" "dropout 0.9" "vocab 300" "save $dir/other" \
    "tokens 256" "seed 2"; do
    wrong "--${given% *} cannot change any more: .* has ${given% *}=" \
        $train --resume "$dir/half" --steps 50 --$given
done
wrong "--ema wants a number of 0 or more and less than 1, not 1" $train --resume "$dir/cat" --ema 1
wrong "--clip wants a number of 0 or more, not -1" $train --resume "$dir/cat" --clip -1
wrong "--accumulate wants a whole number from 1 to .*, not 0" $train --resume "$dir/cat" --accumulate 0
wrong "--schedule foo: it is one of constant" $train --resume "$dir/half" --schedule foo
wrong "say how long to train" $train --steps 0
wrong "want --train" $train --valid "$dir/pairs.tsv"
: > "$dir/empty.tsv"
wrong "empty.tsv: there are no pairs in it" $train --train "$dir/empty.tsv" --steps 1
few="--train $dir/pairs.tsv --vocab 270 --size micro --steps 1"
wrong "pairs.tsv with .*: no pairs are left: all 4 have a sentence of more than 1 tokens" \
    $train $few --max-length 1
wrong "--train .*pairs.tsv with --tokens 4 and .*: a budget of 4 tokens has no room" \
    $train $few --tokens 4
wrong "cannot save to .*pairs.tsv: Not a directory" $train --save "$dir/pairs.tsv"
wrong "cannot save to .*: No such file or directory" $train --save "$dir/nowhere/else"
wrong "which --model" $translate
wrong "none.st" $gpt --model "$dir/none.st"
wrong "it has no gpt" $gpt --model "$dir/cat/best.safetensors"
wrong "--lr wants a number of more than 0, not -1" $gpt --lr -1
wrong "^gpt: d_model 128 is not a multiple of 3 heads" $gpt --heads 3 --steps 1
wrong "--lr wants a number of more than 0, not 1e400" $gpt --lr 1e400
wrong "--text .*pairs.tsv with --rows 16 and --length 128: windows: .* too few for" \
    $gpt --text "$dir/pairs.tsv" --steps 1
wrong "--text .*pairs.tsv is for training: --steps or --minutes" \
    $gpt --model "$dir/gpt.st" --text "$dir/pairs.tsv"
wrong "--rows wants a whole number from 1 to" $gpt --rows 0
wrong "--rows 1073741824 and --length 128: " $gpt --rows 1073741824
wrong "--length wants a whole number from 1 to" $gpt --length 0
wrong "--heads cannot change any more: .* has heads=2" $gpt --model "$dir/gpt.st" --heads 4
wrong "cannot save to .*: No such file or directory" $gpt --save "$dir/nowhere/gpt.st"
wrong "cannot save to .*: Is a directory" $gpt --save "$dir"
wrong "cannot save to .*: Is a directory" $gpt --model "$dir/gpt.st" --save "$dir"
wrong "it has no transformer\|bad.tsv" $translate --model "$dir/bad.tsv"
# a weight that is no number: the last of a model, and the first of a training
cp "$dir/cat/best.safetensors" "$dir/nan.safetensors"
printf '\0\0\300\177' | dd of="$dir/nan.safetensors" bs=1 conv=notrunc 2> /dev/null \
    seek=$(($(wc -c < "$dir/nan.safetensors") - 4))
wrong "nan.safetensors: number .* of .* is -*nan" $translate --model "$dir/nan.safetensors"
cp -r "$dir/cat" "$dir/nan"
printf '\0\0\300\177' | dd of="$dir/nan/last.safetensors" bs=1 conv=notrunc 2> /dev/null \
    seek=$(($(od -An -tu8 -N8 "$dir/nan/last.safetensors") + 8))
wrong "last.safetensors: number 0 of .* is -*nan" $train --resume "$dir/nan" --steps 260
head -c 3000 "$dir/cat/best.safetensors" > "$dir/cut.safetensors"
wrong "cut.safetensors" $translate --model "$dir/cut.safetensors"
wrong "Is a directory" $translate --model "$dir"
wrong "over the memory limit" $train --size micro --pairs 99999999 --steps 1
# a small file with a huge model in it: refused before any of it is made
tokenizer='libtensor-tokenizer 1\nkind byte-bpe\nsplit 1\nspecials pad unk bos eos\nmerges 0\n'
tokenizer="${tokenizer}crc32 0c72dd6c\\n"
config='src_vocab=260\nd_model=65536\nn_encoder=9999\n'
header="{\"__metadata__\":{\"transformer\":\"$config\",\"tokenizer\":\"$tokenizer\"}}"
length=$(printf '%s' "$header" | wc -c)
{
    printf "\\$(printf %03o $((length % 256)))\\$(printf %03o $((length / 256)))"
    printf '\0\0\0\0\0\0%s' "$header"
} > "$dir/huge.safetensors"
wrong "huge.safetensors: a model of .* numbers or more, and 0 are in it" \
    $translate --model "$dir/huge.safetensors"
wrong "--threads wants a whole number from 0 to 1024, not 4294967297" $translate --threads 4294967297
wrong "--beam wants a whole number from 1 to 32, not 33" $translate --beam 33
# what is found out before the training
wrong "damaged.st: it has no tokenizer, or no position" $gpt --model "$dir/damaged.st" --steps 40
ln -s nowhere/x "$dir/link.st"
mkfifo "$dir/fifo.st"
mkdir "$dir/links"
ln -s ../nowhere/x "$dir/links/last.safetensors"
wrong "cannot save to /dev/null: it is no regular file" $gpt --save /dev/null
wrong "cannot save to .*fifo.st: it is no regular file" $gpt --save "$dir/fifo.st"
wrong "cannot save to .*link.st: No such file or directory" $gpt --save "$dir/link.st"
wrong "cannot save to .*text.txt: it is the --text" \
    $gpt --text "$dir/text.txt" --save "$dir/text.txt"
wrong "cannot save to .*links: last.safetensors: No such file or directory" \
    $train --save "$dir/links"
ln -s to.st "$dir/from.st" # but a link to what is not there yet is one to be followed
$gpt --model "$dir/gpt.st" --save "$dir/from.st" --tokens 2 > "$dir/out.txt" 2>&1 || fail "a link"
[ -L "$dir/from.st" ] && cmp "$dir/gpt.st" "$dir/to.st" || fail "a link is not followed"
broken="$dir/line
steps=7"
cp "$dir/pairs.tsv" "$broken"
wrong "--train: a name with a line break cannot be saved" \
    $train --train "$broken" --steps 1 --save "$dir/new"
wrong "--save: a name with a line break cannot be saved" $train --steps 1 --save "$broken"
wrong "--text: a name with a line break cannot be saved" $gpt --text "$broken" --save "$dir/new.st"
latin=$dir/caf$(printf '\351')
wrong "--train: a name that is not UTF-8 cannot be saved" \
    $train --train "$latin" --steps 1 --save "$dir/new"
wrong "--prompt has [0-9]* tokens: more than --length 32" $gpt --model "$dir/gpt.st" \
    --prompt "$(head -c 1000 "$dir/text.txt")" --steps 4000
wrong "--accumulate wants a whole number from 1 to 65536, not 65537" $train --accumulate 65537
wrong "usage: ./quickstart" "$(dirname "$0")/../quickstart" test x
# input that cannot be read, output that cannot be written
$translate --model "$dir/cat/best.safetensors" > "$dir/wrong.txt" 2>&1 < "$dir" &&
    fail "translating a folder"
contains "$dir/wrong.txt" "the standard input cannot be read: Is a directory"
lost() {
    printf 'le chat\n' | "$@" 2> "$dir/wrong.txt" > /dev/full && fail "$* > /dev/full ended with 0"
    contains "$dir/wrong.txt" "the standard output cannot be written"
}
if [ -w /dev/full ]; then
    lost $translate --help
    lost $train --help
    lost $gpt --model "$dir/gpt.st" --tokens 2
    lost $train --size micro --pairs 500 --vocab 300 --steps 1 --test-pairs 2
    lost $translate --model "$dir/cat/best.safetensors"
fi
$train --help | grep -q -- "--label-smoothing" || fail "--help"
exit $failed
