#!/usr/bin/env bash
# Looks for bytes for which a property of tests/fuzz/properties does not hold. Needs stable Rust and a C++ compiler.
#
#   tests/fuzz/run.sh                    each target: its corpus and a short, repeatable search, as in ./ci.sh --full
#   tests/fuzz/run.sh TARGET [SECONDS]   one target, for as long as that (default: 60)
#   tests/fuzz/run.sh keep TARGET        fills up a target's corpus with those of what was found that reach most
#
# What a search finds on its way is kept in target/fuzz/found/TARGET, for the next one.

set -euo pipefail
cd "$(dirname "$0")"

targets=(cache composite config framing headers paths replies requests)
triple="$(rustc -vV | sed -n 's/^host: //p')"
# The product's target directory: what runs at compile time (macros, build scripts) is the same as for its release.
shared="$(cd ../.. && pwd)/target"
executables="$shared/$triple/release"
built="$shared/fuzz"

# What cargo-fuzz would do with a nightly toolchain: count the edges that an input takes, and see what it is
# compared with.
flags=(--cfg fuzzing -Cpasses=sancov-module)
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    flags+=("-Cllvm-args=-sanitizer-coverage-$option")
done

# A corpus is read and run by every `cargo nextest run`, so it has no more files than this.
most=36

# Whether the product depends on what this crate's lock file does not know of. Crates that are not at hand are
# fetched here; after that nothing needs a network.
lock() {
    local said
    said="$(cargo metadata --locked --format-version 1 --filter-platform "$triple" 2>&1 >/dev/null)" && return
    printf '%s\n' "$said" >&2
    [[ "$said" != *"lock file"* ]] || printf 'run.sh: %s\n' \
        "tests/fuzz/Cargo.lock is older than a Cargo.toml; bring it up to date, and commit it:" \
        "cargo update --workspace --manifest-path tests/fuzz/Cargo.toml" >&2
    return 1
}

build() {
    lock
    # With `--target` the flags go to what is fuzzed, and not to what builds it.
    RUSTFLAGS="${flags[*]}" CARGO_TARGET_DIR="$shared" cargo build --release --locked --target "$triple"
}

# Runs a target on its corpus, and on what is in a folder where it keeps what it finds: `fuzz TARGET FOLDER OPTION…`
fuzz() {
    local target="$1" found="$2" broken="$built/broken/$1"
    shift 2
    mkdir -p "$found" "$broken"
    echo "-- $target"
    "$executables/$target" "$@" -max_len=4096 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
        -dict="dictionary" -artifact_prefix="$broken/" "$found" "corpus/$target" >"$broken.log" 2>&1 && {
        grep -E '^(Done|stat::number_of_executed_units)' "$broken.log"
        return
    }
    grep -aE -A 8 'panicked at|ERROR: libFuzzer|SUMMARY' "$broken.log" || tail -n 20 "$broken.log"
    local input
    input="$(sed -n 's/.*Test unit written to //p' "$broken.log" | tail -n 1)"
    echo "run.sh: $target does not hold; all of it is in $broken.log" >&2
    [ -z "$input" ] || printf 'the bytes: %s\nto see it again, and with a debugger: %s %s\n%s\n' \
        "$input" "$executables/$target" "$input" \
        "once mended, copy them under a name that says what they are to tests/fuzz/corpus/$target/" >&2
    return 1
}

# Adds files to the corpus of a target until it is full. The fuzzer chooses first what reaches most edges that
# nothing chosen before it reaches, and writes in that order.
keep() {
    local target="$1" chosen="$built/chosen" held room
    held="$(find "corpus/$target" -type f | wc -l)"
    room=$((most > held ? most - held : 0))
    mkdir -p "$built/found/$target"
    rm -rf "$chosen"
    cp -r "corpus/$target" "$chosen"
    touch "$built/before"
    "$executables/$target" -set_cover_merge=1 -use_counters=0 -max_len=4096 \
        "$chosen" "$built/found/$target" 2>&1 | tail -n 1
    find "$chosen" -type f -newer "$built/before" -printf '%T@ %p\n' | sort -n | cut -d ' ' -f 2- |
        awk -v room="$room" 'NR <= room' | xargs -r cp -t "corpus/$target"
    echo "corpus/$target: $held files, now $(find "corpus/$target" -type f | wc -l) (at most $most)"
}

known() {
    [[ " ${targets[*]} " == *" $1 "* ]] || {
        echo "run.sh: there is no target $1, but ${targets[*]}" >&2
        exit 2
    }
}

case "${1:-all}" in
all)
    build
    for target in "${targets[@]}"; do
        # The same seed and number of runs try the same bytes, if nothing that was found before takes part.
        rm -rf "$built/short"
        fuzz "$target" "$built/short" -seed=1 -runs=20000 -max_total_time=5
    done
    ;;
keep)
    known "${2:-}"
    build
    keep "$2"
    ;;
*)
    known "$1"
    build
    fuzz "$1" "$built/found/$1" -max_total_time="${2:-60}"
    ;;
esac
