//! Signals: the first one drains, the second one ends at once.

use rustix::process::Signal;

use crate::support::{ENDLESS, Folder, Running, SHOP, ids, json_lines, outbox};

#[test]
fn each_of_them_drains_and_ends_in_order() {
    for signal in [Signal::INT, Signal::TERM] {
        let folder = Folder::new();
        folder.write("endless.yaml", ENDLESS);
        let running = folder.start(&["run", "endless.yaml"]);
        running.says("endless flowing");
        running.signal(signal);
        running.wait().code(0).says("stopping: ").says("endless stopped  drained, checkpoint ");
    }
}

/// More than a pipe holds, so that the sink blocks for ever.
fn blocked(shutdown_timeout: &str) -> (Folder, Running) {
    let folder = Folder::new();
    folder.write("shop.yaml", &format!("{SHOP}shutdown_timeout: {shutdown_timeout}\n"));
    outbox(&folder.path("shop.db"), ROWS);
    let running = Running::unread(folder.command(&["run", "shop.yaml"]));
    running.says("shop stalled  sink.no_answer");
    (folder, running)
}

const ROWS: usize = 2000;

/// What stood in the pipe and what the next run delivers are together everything, in order.
fn nothing_is_lost(folder: &Folder, in_the_pipe: &str) {
    let whole = in_the_pipe.rfind('\n').map_or(0, |end| end + 1);
    let mut seen = ids(&json_lines(&in_the_pipe[..whole]));
    let next = ids(&folder.outflow(&["run", "shop.yaml", "--stop-at", "current"]).code(0).lines());
    let first = next.first().expect("what was not delivered comes again");
    let from = seen.iter().position(|id| id == first).unwrap_or(seen.len());
    seen.truncate(from);
    seen.extend(next);
    assert_eq!(seen, (0..ROWS).map(|n| format!("id-{n}")).collect::<Vec<_>>());
}

#[test]
fn a_sink_that_blocks_for_ever_does_not_hold_up_the_end() {
    let (folder, running) = blocked("1s");
    running.terminate();
    let ended = running.wait().code(1).says("shop failed   error[pipeline.");
    assert!(!ended.err.contains("shop stopped"), "{}", ended.err);
    nothing_is_lost(&folder, &ended.out);
}

#[test]
fn a_second_signal_ends_at_once() {
    let (folder, running) = blocked("1h");
    running.terminate();
    running.says("a second signal ends at once");
    running.signal(Signal::INT);
    let ended = running.wait().code(1).says("error[pipeline.aborted]");
    nothing_is_lost(&folder, &ended.out);
}
