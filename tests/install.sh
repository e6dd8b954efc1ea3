#!/bin/sh
# Installs the library into a temporary place and builds a program against that alone, with what
# pkg-config says; looks at the library's symbols: install.sh SOURCE BUILD OPTIMIZATION
set -u
source=$1 build=$2 optimization=$3 failed=0
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
fail() { echo "FAILED: $1"; failed=1; }

DESTDIR="$dir" meson install -C "$build" --no-rebuild > "$dir/log.txt" 2>&1 ||
    { cat "$dir/log.txt"; exit 1; }
pc=$(find "$dir" -name libtensor.pc) so=$(find "$dir" -name 'libtensor.so')
[ -n "$pc" ] && [ -n "$so" ] || { echo "FAILED: no libtensor.pc or libtensor.so"; exit 1; }

# Programs of a user, compiled and run away from the sources: without optimisation, where nothing of
# the headers is left out, and with an op of their own.
sed -i "s|^prefix=|prefix=$dir|" "$pc" # as if that were where it belongs
PKG_CONFIG_PATH=$(dirname "$pc")
export PKG_CONFIG_PATH
cp "$source/examples/mlp.c" "$source/examples/recurrent.c" "$dir/"
for level in -O0 -O2; do
    for program in mlp recurrent; do
        ${CC:-cc} $level -fno-math-errno -fno-trapping-math "$dir/$program.c" -o "$dir/$program" \
            $(pkg-config --cflags --libs libtensor) || fail "$program.c does not build with $level"
        LD_LIBRARY_PATH=$(dirname "$so") "$dir/$program" 3 > "$dir/out.txt" 2>&1 ||
            { fail "$program with $level"; cat "$dir/out.txt"; }
    done
done

# The same from C++.
if command -v "${CXX:-c++}" > /dev/null; then
    ${CXX:-c++} -O2 "$source/tests/test_cpp.cpp" -o "$dir/cpp" \
        $(pkg-config --cflags --libs libtensor) &&
        LD_LIBRARY_PATH=$(dirname "$so") "$dir/cpp" || fail "a program in C++"
fi

# From CMake, which finds the library by pkg-config.
if command -v cmake > /dev/null; then
    mkdir "$dir/cmake"
    cp "$dir/mlp.c" "$dir/recurrent.c" "$dir/cmake/"
    cat > "$dir/cmake/CMakeLists.txt" << 'END'
cmake_minimum_required(VERSION 3.13)
project(user C)
find_package(PkgConfig REQUIRED)
pkg_check_modules(LIBTENSOR REQUIRED IMPORTED_TARGET libtensor)
add_executable(mlp mlp.c)
add_executable(recurrent recurrent.c)
target_link_libraries(mlp PRIVATE PkgConfig::LIBTENSOR)
target_link_libraries(recurrent PRIVATE PkgConfig::LIBTENSOR)
END
    { cmake -S "$dir/cmake" -B "$dir/cmake/build" && cmake --build "$dir/cmake/build" &&
        LD_LIBRARY_PATH=$(dirname "$so") "$dir/cmake/build/mlp" 2; } > "$dir/log.txt" 2>&1 ||
        { fail "a project of CMake"; cat "$dir/log.txt"; }
fi

# As a subproject of meson: configured, and its dependency found (building it again would take a
# minute).
mkdir -p "$dir/parent/subprojects"
ln -s "$source" "$dir/parent/subprojects/libtensor"
cp "$source/examples/mlp.c" "$dir/parent/"
cat > "$dir/parent/meson.build" << 'END'
project('user', 'c')
libtensor = dependency('libtensor', fallback: 'libtensor',
    default_options: ['tests=false', 'examples=false', 'bench=false'])
executable('mlp', 'mlp.c', dependencies: libtensor)
END
PKG_CONFIG_PATH=/nowhere PKG_CONFIG_LIBDIR=/nowhere \
    meson setup "$dir/parent/build" "$dir/parent" > "$dir/log.txt" 2>&1 &&
    grep -q 'libtensor.*YES' "$dir/log.txt" || { fail "a subproject of meson"; cat "$dir/log.txt"; }

# Only tn_ goes out; nothing that ends a process comes in; a release is small.
nm -D --defined-only "$so" | awk '$2 != "A" { print $3 }' | grep -v '^tn_' &&
    fail "exported symbols without tn_"
nm -D --defined-only "$so" | grep ' tn__' && fail "internal symbols are exported"
nm -D --undefined-only "$so" |
    grep -w 'abort\|exit\|_exit\|__assert_fail\|_Exit\|quick_exit' &&
    fail "it can end the process"
strip -o "$dir/stripped" "$so" || fail "strip"
size=$(wc -c < "$dir/stripped")
echo "stripped: $size bytes"
[ "$optimization" != 3 ] || [ "$size" -lt 2000000 ] || fail "expected under 2,000,000 bytes"
exit $failed
