# shellcheck shell=bash
# PostgreSQL 15 (or the distribution's newest), ready for logical replication, with TLS and SCRAM.

PORT=$((PORTS + 32))
PGDATA=$DATA/pgdata

# bin: prints the folder of the installed server's programs (a folder with a client alone does not count).
bin() {
    local -a servers
    if [[ -x /usr/lib/postgresql/15/bin/postgres ]]; then
        say /usr/lib/postgresql/15/bin
        return
    fi
    mapfile -t servers < <(compgen -G '/usr/lib/postgresql/*/bin/postgres' | sort -t/ -k5 -n)
    ((${#servers[@]})) && dirname "${servers[-1]}"
}

packages() {
    bin >/dev/null || say 'postgresql-15|postgresql'
    command -v openssl >/dev/null || say openssl
}

version() {
    local words
    read -ra words < <("$(bin)/postgres" --version)
    say "${words[2]}"
}

# drop_root: sets AS_OWNER, the words before a command that PostgreSQL, which refuses to be root, makes us need.
drop_root() {
    AS_OWNER=()
    ((EUID == 0)) || return 0
    AS_OWNER=(setpriv --reuid postgres --regid postgres --init-groups)
    # A clone under /root is closed to that user; this lets it in without changing the modes of those folders.
    "${AS_OWNER[@]}" test -x "$DATA" || AS_OWNER+=(--inh-caps=+dac_override --ambient-caps=+dac_override)
}

prepare() {
    local data_version=$PGDATA/PG_VERSION bin
    bin=$(bin)
    mkdir -p "$DATA"
    ((EUID != 0)) || chown postgres: "$DATA"
    remove_leftovers
    if [[ -e $data_version && $(version) != "$(<"$data_version")".* ]]; then
        die "$PGDATA is of PostgreSQL $(<"$data_version"), not $(version): run dev/services reset postgres"
    fi
    if [[ ! -e $DATA/initialized ]]; then
        rm -rf "$PGDATA"
        say "$ADMIN_PASSWORD" >"$DATA/password"
        drop_root
        "${AS_OWNER[@]}" "$bin/initdb" --pgdata="$PGDATA" --username="$ADMIN_NAME" --pwfile="$DATA/password" \
            --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --data-checksums --no-sync >>"$(log_of "$NAME")" 2>&1
        echo "include 'outflow.conf'" >>"$PGDATA/postgresql.conf"
        touch "$DATA/initialized"
    fi
    configure
}

# A killed server leaves its pid file, and for a moment its children, who would make the next start fail.
remove_leftovers() {
    local pid
    for pid in $(children_left); do kill -s KILL "$pid" 2>/dev/null || true; done
    wait_until 10 no_children_left || die "a PostgreSQL process that works in $PGDATA cannot be killed"
    rm -f "$PGDATA/postmaster.pid"
}
no_children_left() { [[ -z $(children_left) ]]; }

# children_left: prints the pids of PostgreSQL's processes in this data folder.
children_left() {
    local process command
    for process in /proc/[0-9]*; do
        [[ $process/cwd -ef $PGDATA ]] || continue
        { read -r command <"$process/comm"; } 2>/dev/null || continue
        [[ $command != postgres ]] || say "${process#/proc/}"
    done
}

configure() {
    local shared=$ROOT/dev/servers/postgres
    {
        cat "$shared/postgresql.conf"
        printf '\n%s\n' "listen_addresses = '127.0.0.1'" "port = $PORT" "unix_socket_directories = ''"
    } >"$PGDATA/outflow.conf"
    install -m 600 "$shared/pg_hba.conf" "$STATE"/tls/{ca.pem,server.pem,server.key} "$PGDATA"
    ((EUID != 0)) || chown postgres: "$PGDATA"/{outflow.conf,pg_hba.conf,ca.pem,server.pem,server.key}
}

start() {
    drop_root
    spawn "$NAME" "${AS_OWNER[@]}" "$(bin)/postgres" -D "$PGDATA"
}

ready() { [[ $(admin --command='SELECT 1' 2>/dev/null) == 1 ]]; }

# admin ARG…: psql as the administrator, for scripts.
admin() {
    PGCONNECT_TIMEOUT=2 PGPASSWORD=$ADMIN_PASSWORD "$(bin)/psql" --no-psqlrc --quiet --tuples-only --no-align \
        --set=ON_ERROR_STOP=1 --host=127.0.0.1 --port="$PORT" --username="$ADMIN_NAME" --dbname=postgres "$@"
}

provision() { admin --file="$ROOT/dev/servers/postgres/roles.sql"; }

stop() {
    local signal=INT # fast: ends every session, then writes a checkpoint
    [[ $1 != immediate ]] || signal=QUIT
    stop_process "$NAME" "$signal"
}

exports() {
    export_line OUTFLOW_TEST_POSTGRES_VERSION "$(version)"
    export_line OUTFLOW_TEST_POSTGRES_URL "postgres://$USER_NAME:$USER_PASSWORD@127.0.0.1:$PORT/outflow"
    export_line OUTFLOW_TEST_POSTGRES_ADMIN_URL "postgres://$ADMIN_NAME:$ADMIN_PASSWORD@127.0.0.1:$PORT/outflow"
    export_line OUTFLOW_TEST_POSTGRES_CA "$STATE/tls/ca.pem"
    export_line OUTFLOW_TEST_POSTGRES_CLIENT_CERT "$STATE/tls/client.pem"
    export_line OUTFLOW_TEST_POSTGRES_CLIENT_KEY "$STATE/tls/client.key"
    export_line OUTFLOW_TEST_POSTGRES_RESTART "$RESTART postgres"
    [[ -n $IN_COMPOSE ]] || export_line OUTFLOW_TEST_POSTGRES_PGDATA "$PGDATA"
}

# psql, as the user and verifying the server's certificate; options that name another user or database win.
client() {
    PGHOST=127.0.0.1 PGPORT=$PORT PGUSER=$USER_NAME PGPASSWORD=$USER_PASSWORD PGDATABASE=outflow \
        PGSSLMODE=verify-full PGSSLROOTCERT=$STATE/tls/ca.pem "$(bin)/psql" "$@"
}
