#!/bin/sh
# Installs the library into a temporary place and builds a program against that alone, with what
# pkg-config says; looks at the library's symbols: install.sh SOURCE BUILD
set -u
source=$1 build=$2 failed=0
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
fail() { echo "FAILED: $1"; failed=1; }

DESTDIR="$dir" meson install -C "$build" --no-rebuild > "$dir/log.txt" 2>&1 || { cat "$dir/log.txt"; exit 1; }
pc=$(find "$dir" -name libtensor.pc) so=$(find "$dir" -name 'libtensor.so')
[ -n "$pc" ] && [ -n "$so" ] || { echo "FAILED: no libtensor.pc or libtensor.so"; exit 1; }

# A program of a user: an op of its own, compiled and run away from the sources.
PKG_CONFIG_PATH=$(dirname "$pc") PKG_CONFIG_SYSROOT_DIR=$dir
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
cp "$source/examples/recurrent.c" "$dir/recurrent.c"
${CC:-cc} -O2 -fno-math-errno -fno-trapping-math "$dir/recurrent.c" -o "$dir/recurrent" \
    $(pkg-config --cflags --libs libtensor) -lm || fail "recurrent.c does not build"
LD_LIBRARY_PATH=$(dirname "$so") "$dir/recurrent" 3 > "$dir/out.txt" 2>&1 || { fail "recurrent"; cat "$dir/out.txt"; }

# Only tn_ goes out; nothing that ends a process comes in; the library is small.
nm -D --defined-only "$so" | awk '$2 != "A" { print $3 }' | grep -v '^tn_' && fail "exported symbols without tn_"
nm -D --defined-only "$so" | grep ' tn__' && fail "internal symbols are exported"
nm -D --undefined-only "$so" | grep -w 'abort\|exit\|_exit\|__assert_fail\|_Exit\|quick_exit' && fail "it can end the process"
strip -o "$dir/stripped" "$so" || fail "strip"
size=$(wc -c < "$dir/stripped")
echo "stripped: $size bytes"
[ "$size" -lt 2000000 ] || fail "expected under 2,000,000 bytes"
exit $failed
