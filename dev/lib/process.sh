# shellcheck shell=bash
# Long-lived processes: started apart from this shell, known by a record, stopped by pid.

# A record holds pid, start time and boot, so that a pid which now belongs to someone else is never taken for ours.
record_of() { say "$STATE/run/$1.pid"; }
log_of() { say "$STATE/logs/$1.log"; }

# identity PID: prints the process's start time and the boot, or fails if there is no such live process.
identity() {
    local stat fields boot
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    read -ra fields <<<"${stat##*) }" # the command's name, in brackets, may hold anything
    [[ ${fields[0]} != Z ]] || return 1
    boot=$(</proc/sys/kernel/random/boot_id)
    say "${fields[19]} $boot"
}

# pid_of NAME: prints the pid of the running process, or fails.
pid_of() {
    local pid recorded
    { read -r pid recorded <"$(record_of "$1")"; } 2>/dev/null || return 1
    [[ $(identity "$pid") == "$recorded" ]] || return 1
    say "$pid"
}

running() { pid_of "$1" >/dev/null; }

# spawn NAME COMMAND…: starts a process that outlives this shell, its output added to its log. No effect if it runs.
spawn() {
    local name=$1 log
    shift
    ! running "$name" || return 0
    log=$(log_of "$name")
    printf '\n---- %(%F %T)T started ----\n' -1 >>"$log"
    stat -c %s "$log" >"$STATE/run/$name.log-start"
    # 9 is the lock of `dev/services`: whoever inherits it would hold the lock for as long as it lives.
    setsid "$@" </dev/null >>"$log" 2>&1 9>&- &
    local pid=$!
    say "$pid $(identity "$pid")" >"$(record_of "$name")"
}

# logged NAME TEXT: whether the process has written TEXT since it was last started.
logged() {
    local start
    start=$(<"$STATE/run/$1.log-start")
    grep -qF -- "$2" < <(tail -c "+$((start + 1))" "$(log_of "$1")")
}

# stop_process NAME SIGNAL: sends SIGNAL, waits for the end, and kills what has not ended after 30 s.
stop_process() {
    local name=$1 signal=$2 pid
    if pid=$(pid_of "$name"); then
        kill -s "$signal" "$pid"
        if ! wait_until 30 stopped "$name"; then
            say "$name did not stop in 30 s after SIG$signal; killing it"
            kill -s KILL "$pid"
            wait_until 10 stopped "$name" || die "$name (pid $pid) cannot be killed"
        fi
    fi
    rm -f "$(record_of "$name")"
}
stopped() { ! running "$1"; }

# wait_until SECONDS COMMAND…: whether the command succeeds before the deadline.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

# listening PORT: whether someone accepts connections there on loopback.
listening() { (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
