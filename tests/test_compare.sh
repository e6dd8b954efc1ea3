#!/bin/sh
# bench/compare.py where peers are missing: test_compare.sh PYTHON SOURCE
# The benches and the Python of the peers are scripts here, which print figures at once: what is in
# $HAS can be imported, and what ends in $FAILS, a script with its last options, fails.
set -u
python=$1 source=$2 failed=0
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
fail() { echo "FAILED: $1"; cat "$dir/out.txt"; failed=1; }
contains() { grep -q -- "$1" "$dir/out.txt" || fail "expected a line with \"$1\""; }
step='"step_ms":20,"params":9,"rss_mib":50,"first_step_ms":30}'

mkdir "$dir/bench"
cat > "$dir/bench/bench_gemm" << 'END'
#!/bin/sh
echo '{"batch":1,"m":2,"n":3,"k":4,"kind":"NN","gflops":5,"of_roof":0.5'"$LIBRARIES"'}'
END
cat > "$dir/bench/bench_train_step" << END
#!/bin/sh
echo '{"cpu":"x","gflops":1,"peak_gflops":2,"compile_ms":3,"lookup_us":4,$step'
END
cat > "$dir/python" << END
#!/bin/sh
case "\$*" in "-c import "*)
    case " \$HAS " in *" \${2#import } "*) exit 0 ;; esac
    echo "ModuleNotFoundError: No module named '\${2#import }'" >&2
    exit 1 ;;
esac
case "\$*" in *"\$FAILS") echo "this one fails" >&2; exit 1 ;; esac
case "\$1" in
*/torch_gemm.py) sed 's/}/,"MKL":4}/' ;;
*/*_step.py) echo '{"peer":"'"\$(basename "\$1")"'",$step' ;;
esac
END
chmod +x "$dir/python" "$dir/bench/"*

# compare STATUS OPTION..: what comes out is in $dir/out.txt
compare() {
    want=$1
    shift
    "$python" "$source/bench/compare.py" --build "$dir" --python "$dir/python" --rounds 2 \
        --sizes tiny,small "$@" > "$dir/out.txt" 2>&1
    got=$?
    [ $got = $want ] || fail "$*: expected status $want, got $got"
    ! grep -q Traceback "$dir/out.txt" || fail "$*: a traceback"
}
export HAS LIBRARIES FAILS
HAS="torch jax" LIBRARIES=',"OpenBLAS":4,"BLIS":3,"oneDNN":2' FAILS=none

compare 0 --parts step,gemm
contains "begin step"
contains "| OpenBLAS | BLIS | oneDNN | MKL |"
! grep -q "compare.py:" "$dir/out.txt" || fail "something is told where all are there"

# some are missing: told once, and the others are there
HAS=jax LIBRARIES=',"BLIS":3'
compare 0 --parts step,gemm,attention,ops
[ "$(grep -c "compare.py: PyTorch is missing: .*No module named 'torch'" "$dir/out.txt")" = 1 ] ||
    fail "PyTorch is missing: expected once"
contains "| tiny | .*, jax_step.py"
contains "| small | .*, jax_step.py"
contains "compare.py: OpenBLAS is missing"
contains "compare.py: oneDNN is missing"
contains "machine allows | BLIS | ratio"
contains "compare.py: attention is left out: it needs PyTorch"
contains "compare.py: ops is left out: it needs PyTorch"

# one is there and fails
HAS="torch jax" FAILS="--mode compiled"
compare 0 --parts step --peers compiled,jax
contains "compare.py: step: small goes on without compiled: torch_step.py failed: this one fails"
contains "| tiny | .*, jax_step.py"

# what is the project's own fails: an error, whatever else can be compared
HAS="torch jax" FAILS="--threads 2"
compare 1 --parts losses,gemm
contains "compare.py: losses: losses.py failed: this one fails"
contains "machine allows | BLIS | "
mv "$dir/bench/bench_gemm" "$dir/bench_gemm"
compare 1 --parts gemm,step --peers jax
mv "$dir/bench_gemm" "$dir/bench/bench_gemm"
contains "compare.py: gemm: .*bench_gemm"
contains "| tiny | .*, jax_step.py"
FAILS="--mode compiled"

# none is left
compare 1 --parts step --peers compiled
contains "compare.py: step is left out: no size can be run"
HAS= LIBRARIES=
: > "$dir/text.tsv"
compare 1 --parts step,others,losses,gemm,attention,ops,decode,padding --text "$dir/text.tsv"
contains "compare.py: JAX is missing"
contains "compare.py: CTranslate2 is missing"
contains "compare.py: step is left out: none of its --peers is there"
contains "compare.py: gemm is left out: there is nothing to compare it with"
for part in others losses attention ops decode padding; do contains "compare.py: $part is left out"; done

# no sentences: what a page says of them stays
printf '%s\n' "<!-- begin decode -->" "as it was" "<!-- end decode -->" > "$dir/page.md"
cp "$dir/page.md" "$dir/before.md"
compare 1 --parts decode,padding --write "$dir/page.md"
for part in decode padding; do contains "compare.py: $part is left out: it needs sentences (--text)"; done
cmp "$dir/page.md" "$dir/before.md" || fail "a part that is left out changed the page"

compare 1 --peers none
contains "compare.py: --peers: no none"
exit $failed
