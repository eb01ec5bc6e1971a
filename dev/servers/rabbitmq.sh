# shellcheck shell=bash
# RabbitMQ 3.10 (or the distribution's): one node with its management plug-in, and an EPMD of its own.

PORT=$((PORTS + 72))
MANAGEMENT_PORT=$((PORTS + 75))
DIST_PORT=$((PORTS + 76))
EPMD_PORT=$((PORTS + 69))
EPMD=$NAME-epmd
API=http://127.0.0.1:$MANAGEMENT_PORT/api

# sbin: the folder of the real commands; those in /usr/sbin insist on the package's own user and node.
sbin() { compgen -G '/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin'; }

packages() {
    sbin >/dev/null || say rabbitmq-server
    command -v curl >/dev/null || say curl
}

version() {
    local folder
    folder=$(sbin)
    folder=${folder%/sbin}
    say "${folder##*-}"
}

prepare() {
    mkdir -p "$DATA/home"
    if [[ ! -e $DATA/home/.erlang.cookie ]]; then
        (umask 377 && openssl rand -hex 20 >"$DATA/home/.erlang.cookie")
    fi
    echo '[rabbitmq_management].' >"$DATA/enabled_plugins"
    cat >"$DATA/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$PORT
management.tcp.ip = 127.0.0.1
management.tcp.port = $MANAGEMENT_PORT
default_user = $USER_NAME
default_pass = $USER_PASSWORD
default_user_tags.administrator = true
disk_free_limit.absolute = 256MB
log.console = true
log.file = false
CONF
}

# node_environment: points RabbitMQ's scripts at this node, and away from the system's settings.
node_environment() {
    export HOME=$DATA/home
    export ERL_EPMD_PORT=$EPMD_PORT ERL_EPMD_ADDRESS=127.0.0.1
    export RABBITMQ_NODENAME=outflow@localhost
    export RABBITMQ_DIST_PORT=$DIST_PORT
    export RABBITMQ_CONF_ENV_FILE=/dev/null
    export RABBITMQ_CONFIG_FILE=$DATA/rabbitmq.conf
    export RABBITMQ_ADVANCED_CONFIG_FILE=$DATA/advanced.config
    export RABBITMQ_ENABLED_PLUGINS_FILE=$DATA/enabled_plugins
    export RABBITMQ_MNESIA_BASE=$DATA/mnesia
    export RABBITMQ_GENERATED_CONFIG_DIR=$DATA/generated
    export RABBITMQ_LOG_BASE=$DATA/log
    export RABBITMQ_PID_FILE=$DATA/node.pid
    # Loopback only, and no busy waiting: an idle node must not disturb measurements beside it.
    export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"
    # Makes the start script become the node, so that the pid is the node's.
    export RUNNING_UNDER_SYSTEMD=1
}

start() (
    node_environment
    spawn "$EPMD" epmd -address 127.0.0.1 -port "$EPMD_PORT"
    wait_until 10 listening "$EPMD_PORT" || die "EPMD does not listen on $EPMD_PORT: see $(log_of "$EPMD")"
    spawn "$NAME" "$(sbin)/rabbitmq-server"
)

ready() {
    curl --silent --fail --max-time 5 --output /dev/null --user "$USER_NAME:$USER_PASSWORD" \
        "$API/health/checks/port-listener/$PORT"
}

stop() {
    local signal=TERM
    [[ $1 != immediate ]] || signal=KILL
    stop_process "$NAME" "$signal"
    stop_process "$EPMD" "$signal"
}

exports() {
    export_line OUTFLOW_TEST_RABBITMQ_VERSION "$(version)"
    export_line OUTFLOW_TEST_AMQP_URL "amqp://$USER_NAME:$USER_PASSWORD@127.0.0.1:$PORT/%2f"
    export_line OUTFLOW_TEST_RABBITMQ_API "http://$USER_NAME:$USER_PASSWORD@127.0.0.1:$MANAGEMENT_PORT/api"
    export_line OUTFLOW_TEST_RABBITMQ_RESTART "$RESTART rabbitmq"
}

# rabbitmqctl
client() (
    node_environment
    "$(sbin)/rabbitmqctl" "$@"
)
