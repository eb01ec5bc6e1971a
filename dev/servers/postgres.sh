# shellcheck shell=bash
# PostgreSQL 15 (or the distribution's newest), ready for logical replication, with TLS and SCRAM.

PORT=$((PORTS + 32))
PGDATA=$DATA/pgdata

bin() {
    local -a installed
    mapfile -t installed < <(compgen -G '/usr/lib/postgresql/*/bin' | sort -t/ -k5 -n)
    ((${#installed[@]})) || return 1
    if [[ -x /usr/lib/postgresql/15/bin/postgres ]]; then
        say /usr/lib/postgresql/15/bin
    else
        say "${installed[-1]}"
    fi
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
    local process
    for process in /proc/[0-9]*; do
        [[ ! $process/cwd -ef $PGDATA ]] || kill -s KILL "${process#/proc/}" 2>/dev/null || true
    done
    wait_until 10 nobody_works_in_pgdata || die "a process that works in $PGDATA cannot be killed"
    rm -f "$PGDATA/postmaster.pid"
}
nobody_works_in_pgdata() {
    local process
    for process in /proc/[0-9]*; do
        [[ ! $process/cwd -ef $PGDATA ]] || return 1
    done
}

configure() {
    cat >"$PGDATA/outflow.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $PORT
unix_socket_directories = ''
max_connections = 300
password_encryption = 'scram-sha-256'

ssl = on
ssl_ca_file = 'ca.pem'
ssl_cert_file = 'server.pem'
ssl_key_file = 'server.key'

wal_level = logical
max_wal_senders = 100
max_replication_slots = 100
max_slot_wal_keep_size = '8GB'          # a slot that a failed test left behind cannot fill the disk
max_prepared_transactions = 20
track_commit_timestamp = on
fsync = on
synchronous_commit = on

timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
log_line_prefix = '%m [%p] %q%u@%d '
CONF
    cat >"$PGDATA/pg_hba.conf" <<HBA
# TYPE   DATABASE     USER          ADDRESS       METHOD
hostssl  all          outflow_cert  127.0.0.1/32  cert
host     all          outflow_cert  127.0.0.1/32  reject
host     all          all           127.0.0.1/32  scram-sha-256
host     replication  all           127.0.0.1/32  scram-sha-256
HBA
    install -m 600 "$STATE/tls/ca.pem" "$STATE/tls/server.pem" "$STATE/tls/server.key" "$PGDATA"
    ((EUID != 0)) || chown postgres: "$PGDATA"/{outflow.conf,pg_hba.conf,ca.pem,server.pem,server.key}
}

start() {
    drop_root
    spawn "$NAME" "${AS_OWNER[@]}" "$(bin)/postgres" -D "$PGDATA"
}

ready() { [[ $(query 'SELECT 1' 2>/dev/null) == 1 ]]; }

# query SQL: runs it as the administrator.
query() {
    PGCONNECT_TIMEOUT=2 PGPASSWORD=$ADMIN_PASSWORD "$(bin)/psql" --no-psqlrc --quiet --tuples-only --no-align \
        --set=ON_ERROR_STOP=1 --host=127.0.0.1 --port="$PORT" --username="$ADMIN_NAME" --dbname=postgres <<<"$1"
}

provision() {
    query "
        SELECT 'CREATE ROLE $USER_NAME' WHERE to_regrole('$USER_NAME') IS NULL \\gexec
        ALTER ROLE $USER_NAME LOGIN REPLICATION CREATEDB PASSWORD '$USER_PASSWORD';
        SELECT 'CREATE ROLE outflow_cert LOGIN' WHERE to_regrole('outflow_cert') IS NULL \\gexec
        SELECT 'CREATE DATABASE outflow OWNER $USER_NAME'
            WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'outflow') \\gexec"
}

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
    export_line OUTFLOW_TEST_POSTGRES_PGDATA "$PGDATA"
    export_line OUTFLOW_TEST_POSTGRES_RESTART "$ROOT/dev/services restart postgres"
}

# psql, as the user and verifying the server's certificate; options that name another user or database win.
client() {
    PGHOST=127.0.0.1 PGPORT=$PORT PGUSER=$USER_NAME PGPASSWORD=$USER_PASSWORD PGDATABASE=outflow \
        PGSSLMODE=verify-full PGSSLROOTCERT=$STATE/tls/ca.pem "$(bin)/psql" "$@"
}
