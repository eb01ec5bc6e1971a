# shellcheck shell=bash
# All servers of one clone share a block of 100 ports: the first block, unless another clone (or anyone else)
# listens in it. A server's port is the block's first port plus a fixed number that recalls its usual port.

FIRST_BLOCK=21400
LAST_BLOCK=22900

# current_block: the block in use since the last `up`.
current_block() {
    local block=
    [[ ! -e $STATE/ports ]] || read -r block <"$STATE/ports"
    say "${block:-$FIRST_BLOCK}"
}

# choose_block: takes the first free block and remembers it. Call it only while no server of this clone runs.
choose_block() {
    local block
    for ((block = FIRST_BLOCK; block <= LAST_BLOCK; block += 100)); do
        if block_is_free "$block"; then
            ((block == FIRST_BLOCK)) || say "ports from $FIRST_BLOCK on are taken; using those from $block on"
            say "$block" >"$STATE/ports"
            return
        fi
    done
    die "no free block of 100 ports between $FIRST_BLOCK and $((LAST_BLOCK + 99)): ss -ltnp shows who listens there"
}

block_is_free() {
    local block=$1 local_address state port _
    while read -r _ local_address _ state _; do
        [[ $state == 0A ]] || continue # 0A is LISTEN
        port=$((16#${local_address##*:}))
        ((port < block || port >= block + 100)) || return 1
    done < <(tail -qn +2 /proc/net/tcp /proc/net/tcp6 2>/dev/null)
}
