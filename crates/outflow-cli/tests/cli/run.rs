//! `outflow run`.

use serde_json::Value as Json;

use crate::support::{Folder, SHOP, closed_port, http_get, ids, json_lines, outbox};

const CURRENT: [&str; 4] = ["run", "shop.yaml", "--stop-at", "current"];

fn shop(rows: usize) -> Folder {
    let folder = Folder::new();
    folder.write("shop.yaml", SHOP);
    outbox(&folder.path("shop.db"), rows);
    folder
}

/// The state words of the status lines of a pipeline.
fn states<'a>(err: &'a str, name: &str) -> Vec<&'a str> {
    let words = err.lines().map(|l| l.split_whitespace().collect::<Vec<_>>());
    words.filter(|w| w.get(1) == Some(&name)).map(|w| w[2]).collect()
}

#[test]
fn what_is_there_is_delivered_once_and_in_order() {
    let folder = shop(50);
    let first = folder.outflow(&CURRENT).code(0).says("shop stopped  drained, checkpoint outbox 50 durable");
    let wanted: Vec<String> = (0..50).map(|n| format!("id-{n}")).collect();
    assert_eq!(ids(&first.lines()), wanted);
    assert!(first.err.contains("; 50 delivered, 0 dead-lettered"), "{}", first.err);
    // The rest of it, from the checkpoint.
    assert!(folder.outflow(&CURRENT).code(0).out.is_empty());
    outbox(&folder.path("shop.db"), 2);
    assert_eq!(ids(&folder.outflow(&CURRENT).code(0).lines()), ["id-50", "id-51"]);
}

#[test]
fn the_status_is_told_in_the_words_of_the_reference() {
    let folder = shop(3);
    let running = folder.start(&["run", "shop.yaml"]);
    running.says("shop starting polling shop.db, table outbox → stdout; at-least-once; state .outflow/shop");
    let flowing = running.says_that("flowing", |all| all.contains("shop flowing") && all.ends_with('\n'));
    let line = flowing.lines().find(|l| l.contains("shop flowing")).unwrap();
    for part in ["/s  lag ", "  in flight ", "  rss ", " MiB"] {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
    running.says("shop idle     last event ");
    running.terminate();
    let ended = running.wait().code(0).says("stopping: what is in flight is delivered first");
    let known = ["starting", "snapshot", "flowing", "idle", "stalled", "stopped", "failed"];
    let states = states(&ended.err, "shop");
    assert!(states.iter().all(|s| known.contains(s)), "{states:?}");
    assert_eq!((states.first(), states.last()), (Some(&"starting"), Some(&"stopped")));
}

#[test]
fn for_programs_every_line_on_stderr_is_a_document_and_stdout_is_for_records() {
    for form in [["--json", "--set=shop.sink.type=stdout"], ["--log-format", "json"]] {
        let folder = shop(3);
        let ended = folder.outflow(&[&CURRENT[..], &form[..]].concat()).code(0);
        assert_eq!(ids(&ended.lines()), ["id-0", "id-1", "id-2"]);
        let documents = json_lines(&ended.err);
        let last = documents.last().unwrap();
        assert_eq!((&last["pipeline"], &last["state"]), (&"shop".into(), &"stopped".into()));
        assert_eq!(last["status"]["counts"]["delivered"], 3);
    }
    let folder = Folder::new();
    folder.write("shop.yaml", SHOP);
    let ended = folder.outflow(&["run", "shop.yaml", "--json"]).code(3);
    let failed = json_lines(&ended.err).pop().unwrap();
    assert_eq!(
        (&failed["state"], &failed["error"]["code"]),
        (&"failed".into(), &"polling.database_missing".into())
    );
    assert!(failed["error"]["hint"].is_string(), "{failed}");
    // Mistakes, too.
    folder.write("shop.yaml", "source: 1\n");
    let ended = folder.outflow(&["run", "shop.yaml", "--json"]).code(2);
    assert!(ended.out.is_empty() && json_lines(&ended.err)[0]["diagnostics"].is_array(), "{ended:?}");
}

#[test]
fn a_server_that_is_not_there_is_tried_again_until_the_startup_timeout() {
    let folder = Folder::new();
    let port = closed_port();
    folder.write(
        "shop.yaml",
        &format!(
            "{}startup_timeout: 1s\n",
            SHOP.replace("sqlite:shop.db", &format!("postgres://u@127.0.0.1:{port}/shop"))
        ),
    );
    folder
        .outflow(&["run", "shop.yaml"])
        .code(3)
        .says(&format!("shop starting polling.unreachable 127.0.0.1:{port}/shop: "))
        .says(", retry ")
        .says("; nothing lost")
        .says("shop failed   error[polling.unreachable]: ")
        .says("attempts=")
        .says("see that the server runs");
}

#[test]
fn a_pipeline_that_fails_leaves_the_others_alone() {
    let folder = shop(3);
    folder.write("broken.yaml", &SHOP.replace("name: shop", "name: broken").replace("shop.db", "none.db"));
    let ended = folder.outflow(&["run", ".", "--stop-at", "current"]).code(3);
    assert_eq!(ids(&ended.lines()), ["id-0", "id-1", "id-2"]);
    assert_eq!(states(&ended.err, "broken").last(), Some(&"failed"));
    assert_eq!(states(&ended.err, "shop").last(), Some(&"stopped"));
}

#[test]
fn a_second_instance_is_refused_before_it_reads_and_told_who_runs() {
    let folder = shop(1);
    let running = folder.start(&["run", "shop.yaml"]);
    running.prints(1);
    let second = folder.outflow(&["run", "shop.yaml", "--set", "shop.startup_timeout=1s"]).code(3);
    let second = second.says("error[state.held]");
    assert!(second.out.is_empty(), "{second:?}");
    running.terminate();
    running.wait().code(0);
    // Given up at the end.
    folder.outflow(&CURRENT).code(0);
}

#[test]
fn a_failure_while_it_runs_is_a_runtime_error() {
    let folder = shop(1);
    let running = folder.start(&["run", "shop.yaml"]);
    running.prints(1);
    let connection = rusqlite::Connection::open(folder.path("shop.db")).unwrap();
    connection.execute_batch("DROP TABLE outbox").unwrap();
    drop(connection);
    running.wait().code(1).says("shop failed").says("error[polling.table_missing]");
}

#[test]
fn a_reader_that_goes_away_ends_it_and_what_it_did_not_get_comes_next_time() {
    let folder = shop(1);
    let mut running = crate::support::Running::unread(folder.command(&["run", "shop.yaml"]));
    // The first row counts as taken once the checkpoint is behind it.
    folder.has_stored("outbox", "1");
    running.close_stdout();
    outbox(&folder.path("shop.db"), 2);
    running.wait().code(1).says("error[stdout.closed]");
    assert_eq!(ids(&folder.outflow(&CURRENT).code(0).lines()), ["id-1", "id-2"]);
}

#[test]
fn health_and_metrics_are_served() {
    let folder = shop(3);
    let running = folder.start(&["run", "shop.yaml", "--listen", "127.0.0.1:0"]);
    let address = running.listens();
    running.says("shop idle");
    assert_eq!(http_get(&address, "/healthz").0, 200);
    let (status, ready) = http_get(&address, "/readyz");
    assert_eq!(status, 200, "{ready}");
    let ready: Json = serde_json::from_str(&ready).unwrap();
    assert!(ready.to_string().contains("\"idle\""), "the same words: {ready}");
    let (status, metrics) = http_get(&address, "/metrics");
    assert_eq!(status, 200);
    assert!(metrics.lines().any(|l| l.starts_with("outflow_") && l.ends_with(" 3")), "{metrics}");
    running.terminate();
    running.wait().code(0);
    // An address in use.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    folder.outflow(&["run", "shop.yaml", "--listen", &address]).code(3).says("error[").says(&address);
}

#[test]
fn the_environment_sets_what_holds_for_the_process() {
    let folder = shop(1);
    let mut command = folder.command(&CURRENT);
    command.env("OUTFLOW_STATE_DIR", "state").env("OUTFLOW_LOG_FORMAT", "json");
    command.env("OUTFLOW_LISTEN", "127.0.0.1:0").env("OUTFLOW_LOG", "debug");
    let ended = crate::support::Running::of(command).wait().code(0);
    assert!(json_lines(&ended.err).iter().any(|d| d["listening"].is_string()), "{}", ended.err);
    assert!(folder.path("state/shop/checkpoint").exists() && !folder.path(".outflow").exists());
    // A flag goes before the environment.
    let mut command = folder.command(&CURRENT);
    command.args(["--state-dir", "other"]).env("OUTFLOW_STATE_DIR", "state");
    assert_eq!(crate::support::Running::of(command).wait().code(0).lines().len(), 1);
    let mut command = folder.command(&CURRENT);
    command.env("OUTFLOW_LOG", "outflow=loud");
    crate::support::Running::of(command).wait().code(2).says("OUTFLOW_LOG is no filter");
}

#[test]
fn what_cannot_be_taken_goes_to_a_file_beside_the_state() {
    let folder = shop(2);
    folder.write("shop.yaml", &format!("{SHOP}on_error: dead-letter\n"));
    let connection = rusqlite::Connection::open(folder.path("shop.db")).unwrap();
    connection.execute("UPDATE outbox SET aggregatetype = '' WHERE seq = 1", []).unwrap();
    drop(connection);
    // Looking for mistakes makes nothing.
    folder.outflow(&["validate", "shop.yaml"]).code(0);
    folder.outflow(&["check", "shop.yaml"]).code(0);
    assert!(!folder.path(".outflow").exists());
    let ended = folder.outflow(&CURRENT).code(0).says("1 dead-lettered");
    assert_eq!(ids(&ended.lines()), ["id-1"]);
    assert_eq!(json_lines(&folder.read(".outflow/shop/dead-letters.jsonl")).len(), 1);
}
