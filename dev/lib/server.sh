# shellcheck shell=bash disable=SC2034
# What a server is to `dev/services`. A file dev/servers/NAME.sh is read after this one, in a subshell of its own;
# it must define PORT, start, ready, version, exports and client, and may redefine the others.
#
#   NAME           the file's name               PORTS   the first port of this clone's block
#   DATA           the server's own folder       CACHE   for downloads, kept by `reset`
#   USER_NAME, USER_PASSWORD, ADMIN_NAME, ADMIN_PASSWORD   the same for every server, and in dev/compose.yaml
#   RESTART        the command that, with a name added, restarts a server
#   IN_COMPOSE     not empty if the servers are Docker's

USER_NAME=outflow
USER_PASSWORD=outflow-dev-password
ADMIN_NAME=outflow_admin
ADMIN_PASSWORD=outflow-dev-admin
CACHE=$STATE/cache
RESTART="$ROOT/dev/services restart"
IN_COMPOSE=

# load NAME: makes this subshell the one of that server.
load() {
    NAME=$1
    PORTS=$(current_block)
    DATA=$STATE/data/$NAME
    # shellcheck source=/dev/null
    source "$ROOT/dev/servers/$NAME.sh"
}

packages() { :; }  # prints the Debian packages that are missing, one a line
fetch() { :; }     # downloads what is no package
prepare() { :; }   # writes data folder and configuration; runs before each start
# start            spawns every process that does not run; the main one is called $NAME
# ready            whether it serves now
provision() { :; } # users and the like, once ready; must be idempotent
stop() {           # stop fast|immediate: an orderly end, or one as in a power cut
    local signal=TERM
    [[ $1 != immediate ]] || signal=KILL
    stop_process "$NAME" "$signal"
}
# version          prints the installed version
# exports          calls `export_line` for what a test must know
# client ARG…      runs the server's own command line client

# export_line NAME VALUE
export_line() { printf 'export %s=%q\n' "$1" "$2"; }

# bring_up: the server runs and is ready when this returns.
bring_up() {
    local began=${EPOCHREALTIME/./}
    if ! running "$NAME"; then
        fetch
        prepare
    fi
    start
    wait_until 120 ready_or_dead || true
    if ! running "$NAME" || ! ready; then
        tail -n 30 "$(log_of "$NAME")" >&2
        die "$NAME did not start; the above is the end of $(log_of "$NAME")"
    fi
    provision
    local took=$(((${EPOCHREALTIME/./} - began) / 100000))
    say "$NAME $(version) is up on 127.0.0.1:$PORT (pid $(pid_of "$NAME"), $((took / 10)).$((took % 10)) s)"
}
ready_or_dead() { ! running "$NAME" || ready; }

take_down() {
    stop "${1:-fast}"
    say "$NAME is down"
}

# take_down_for_good: stops it and forgets its data.
take_down_for_good() {
    stop immediate
    rm -rf "$DATA"
    say "$NAME is down and its data is gone"
}

# status_line: one line; fails unless the server is up.
status_line() {
    local pid=- state=down shown
    if pid=$(pid_of "$NAME"); then
        state=starting
        ! ready || state=up
    fi
    shown=$(version 2>/dev/null) || shown=-
    printf '%-12s %-10s %-6s %-8s %s\n' "$NAME" "${shown:--}" "$PORT" "${pid:--}" "$state"
    [[ $state == up ]]
}
