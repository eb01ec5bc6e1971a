# shellcheck shell=bash
# What every script in dev/ shares: places, messages, packages.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
# Everything that the servers write, and everything downloaded for them. Git ignores it.
# shellcheck disable=SC2034
STATE=$ROOT/.services

# Where rustup puts cargo, which a shell that is no login shell may not know.
PATH=$PATH:${HOME:-}/.cargo/bin

say() { printf '%s\n' "$*"; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# as_root COMMAND…: runs it with root's rights, through sudo where needed.
as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root's rights, and there is no sudo: $*"
    fi
}

# install_packages NAME…: installs Debian packages without starting any server that they contain.
# NAME may be a choice, best first: `openjdk-17-jre-headless|default-jre-headless`.
install_packages() {
    (($#)) || return 0
    command -v apt-get >/dev/null || die "please install these, as Debian calls them, by hand: $*"
    say "installing $*"
    as_root "$ROOT/dev/lib/apt-install" "$@"
}
