# shellcheck shell=bash
# Apache Kafka: one KRaft node, broker and controller in one, from the jars of Maven's repository.

PORT=$((PORTS + 92))
CONTROLLER_PORT=$((PORTS + 93))
POM=$ROOT/dev/servers/kafka/pom.xml
KAFKA_VERSION=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$POM")
JARS=$CACHE/kafka-$KAFKA_VERSION

packages() {
    # Kafka 4 needs Java 17 or later, which `default-jre` is not everywhere.
    command -v java >/dev/null || say 'openjdk-17-jre-headless|default-jre-headless'
    [[ -d $JARS ]] || command -v mvn >/dev/null || say maven
}

version() { say "$KAFKA_VERSION"; }

fetch() {
    [[ ! -d $JARS ]] || return 0
    say "$NAME: fetching version $KAFKA_VERSION"
    local unfinished=$JARS.unfinished
    rm -rf "$unfinished"
    mvn --batch-mode --quiet --file "$POM" -Dmaven.repo.local="$CACHE/m2" -Djars="$unfinished" \
        dependency:copy-dependencies </dev/null >>"$(log_of "$NAME")" 2>&1 ||
        die "Maven failed: see $(log_of "$NAME")"
    mv "$unfinished" "$JARS"
}

prepare() {
    mkdir -p "$DATA"
    cat >"$DATA/server.properties" <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$CONTROLLER_PORT
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$PORT,CONTROLLER://127.0.0.1:$CONTROLLER_PORT
advertised.listeners=PLAINTEXT://127.0.0.1:$PORT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$DATA/log
num.partitions=3
# One node: nothing can be replicated, and few partitions start fast.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# After a kill the controller refuses the new process until the old one's session has ended.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
CONF
    if [[ ! -e $DATA/log/meta.properties ]]; then
        local id
        id=$(kafka kafka.tools.StorageTool random-uuid 2>>"$(log_of "$NAME")")
        kafka kafka.tools.StorageTool format --cluster-id "$id" --config "$DATA/server.properties" \
            >>"$(log_of "$NAME")" 2>&1
    fi
}

# kafka CLASS ARG…: runs one of Kafka's programs.
kafka() {
    java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.level=WARN -cp "$JARS/*" "$@"
}

start() {
    spawn "$NAME" java -Xms256m -Xmx512m -XX:+UseG1GC -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true \
        -Dlog4j2.configurationFile="$ROOT/dev/servers/kafka/log4j2.properties" \
        -cp "$JARS/*" kafka.Kafka "$DATA/server.properties"
}

ready() { logged "$NAME" 'Kafka Server started' && listening "$PORT"; }

exports() {
    export_line OUTFLOW_TEST_KAFKA_VERSION "$(version)"
    export_line OUTFLOW_TEST_KAFKA "127.0.0.1:$PORT"
    export_line OUTFLOW_TEST_KAFKA_RESTART "$RESTART kafka"
}

# Any of Kafka's programs, by class: client org.apache.kafka.tools.TopicCommand --list
client() {
    local class=$1
    shift
    kafka "$class" --bootstrap-server "127.0.0.1:$PORT" "$@"
}
