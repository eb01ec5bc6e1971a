//! The server over real pipelines: words, codes, names.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use outflow_admin::Admin;
use outflow_core::Error;
use outflow_runtime::{Observer, Pipeline, PipelineHandle, PipelineOptions, PipelineSpec, State};
use outflow_testkit::memory::{MemoryCheckpoints, MemoryLog, MemorySink, Row};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<outflow_core::Result<()>>,
}

async fn serve(pipelines: Vec<Observer>) -> Running {
    let admin = Admin::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = admin.address();
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(admin.serve(pipelines, async {
        let _ = stopped.await;
    }));
    Running { address, stop, served }
}

struct Pipe {
    log: MemoryLog,
    sink: MemorySink,
    handle: PipelineHandle,
}

fn pipeline(name: &str) -> Pipe {
    let (log, sink) = (MemoryLog::new(10), MemorySink::new());
    let mut options = PipelineOptions::default();
    options.max_backoff = Duration::from_millis(20);
    let spec = PipelineSpec {
        name: name.into(),
        source: Arc::new(log.clone()),
        transforms: Vec::new(),
        format: None,
        sink: Arc::new(sink.clone()),
        dead_letter: None,
        store: Arc::new(MemoryCheckpoints::default()),
        options,
    };
    Pipe { log, sink, handle: Pipeline::spawn(spec) }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(30), future).await {
        Ok(value) => value,
        Err(_) => panic!("did not come within 30 s: {what}"),
    }
}

async fn until(observer: &Observer, state: State) {
    within(state.as_str(), async {
        while observer.status().state != state {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Status and body of a request.
async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, body.to_owned())
}

async fn json(address: SocketAddr, path: &str) -> (u16, serde_json::Value) {
    let (code, body) = get(address, path).await;
    (code, serde_json::from_str(&body).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_every_pipeline_and_says_why_not() {
    let (good, bad) = (pipeline("good"), pipeline("bad"));
    until(&good.handle.observer(), State::Idle).await;
    until(&bad.handle.observer(), State::Idle).await;
    let server = serve(vec![good.handle.observer(), bad.handle.observer()]).await;
    assert_eq!(get(server.address, "/healthz").await, (200, "ok\n".to_owned()));
    let (code, body) = json(server.address, "/readyz").await;
    assert_eq!((code, &body["ready"]), (200, &true.into()));

    bad.sink.lose_next(Error::permanent("sink.denied").message("no access").hint("ask for it"));
    bad.log.commit([Row::new("k", 1)]);
    until(&bad.handle.observer(), State::Failed).await;
    let (code, body) = json(server.address, "/readyz").await;
    assert_eq!(code, 503);
    let of = |name: &str| {
        body["pipelines"].as_array().unwrap().iter().find(|p| p["pipeline"] == name).unwrap().clone()
    };
    assert_eq!((&of("good")["ready"], &of("good")["state"]), (&true.into(), &"idle".into()));
    assert_eq!(
        of("bad"),
        serde_json::json!({
            "pipeline": "bad", "ready": false, "state": "failed",
            "code": "sink.denied", "reason": "no access", "hint": "ask for it",
        })
    );
    // The process is alive, and the other pipeline is ready.
    assert_eq!(get(server.address, "/healthz").await.0, 200);
    assert_eq!(get(server.address, "/readyz?pipeline=good").await.0, 200);
    assert_eq!(get(server.address, "/readyz?pipeline=bad").await.0, 503);
    let (code, body) = json(server.address, "/readyz?pipeline=other").await;
    assert_eq!((code, body["error"].as_str()), (404, Some("no pipeline is called \"other\"")));
    assert_eq!(get(server.address, "/").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_pipelines_nothing_is_ready() {
    let server = serve(Vec::new()).await;
    assert_eq!(get(server.address, "/readyz").await.0, 503);
}

/// The samples of an exposition: name with labels → value.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|l| l.rsplit_once(' ').map(|(k, v)| (k.to_owned(), v.parse().unwrap())).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_was_delivered() {
    let pipe = pipeline("orders");
    let server = serve(vec![pipe.handle.observer()]).await;
    pipe.log.commit((0..25).map(|n| Row::new("k", n)));
    within("all rows", pipe.sink.until(|d| d.len() == 25)).await;
    let observer = pipe.handle.observer();
    pipe.handle.stop();
    pipe.handle.wait().await.unwrap();
    assert_eq!(observer.counts().delivered, 25);
    let found = samples(&get(server.address, "/metrics").await.1);
    let value = |name: &str| found.get(name).copied().unwrap_or_else(|| panic!("no {name} in {found:?}"));
    assert_eq!(value(r#"outflow_received_events_total{pipeline="orders"}"#), 25.0);
    assert_eq!(value(r#"outflow_delivered_events_total{pipeline="orders"}"#), 25.0);
    assert!(value(r#"outflow_checkpoints_total{pipeline="orders"}"#) >= 1.0);
    assert_eq!(value(r#"outflow_in_flight_batches{pipeline="orders"}"#), 0.0);
    assert_eq!(value(r#"outflow_delivery_latency_seconds_count{pipeline="orders"}"#), 25.0);
    assert_eq!(value(r#"outflow_delivery_latency_seconds_bucket{le="+Inf",pipeline="orders"}"#), 25.0);
    assert_eq!(value(r#"outflow_pipeline_state{pipeline="orders",state="stopped"}"#), 1.0);
    let states: f64 =
        found.iter().filter(|(k, _)| k.starts_with("outflow_pipeline_state{")).map(|(_, v)| v).sum();
    assert_eq!(states, 1.0);
}

/// Name, type and labels of each metric in the reference.
fn documented() -> BTreeSet<(String, String, BTreeSet<String>)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/metrics.md");
    let text = std::fs::read_to_string(path).unwrap();
    let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    text.lines()
        .filter_map(|line| {
            line.strip_prefix("| `").map(|_| line.split('|').map(str::trim).collect::<Vec<_>>())
        })
        .filter(|cells| cells.len() == 6)
        .map(|cells| (words(cells[1]).remove(0), cells[2].to_owned(), words(cells[3]).into_iter().collect()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_and_the_exposition_agree() {
    let pipe = pipeline("orders");
    let server = serve(vec![pipe.handle.observer()]).await;
    pipe.log.commit([Row::new("k", 1)]);
    let observer = pipe.handle.observer();
    within("a checkpoint", async {
        while observer.counts().checkpoints == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    let (code, text) = get(server.address, "/metrics").await;
    assert_eq!(code, 200);
    assert!(text.ends_with("# EOF\n"), "{text}");
    let mut exposed = BTreeSet::new();
    for line in text.lines().filter_map(|l| l.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            "histogram" => "_bucket",
            _ => "",
        };
        let sample = format!("{name}{suffix}");
        let of_it =
            |l: &&str| l.strip_prefix(sample.as_str()).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let line = text.lines().find(of_it).unwrap_or_else(|| panic!("no sample of {sample} in {text}"));
        let labels =
            line.split_once('{').map(|(_, rest)| rest.split_once('}').unwrap().0).unwrap_or_default();
        let labels =
            labels.split(',').filter(|l| !l.is_empty()).map(|l| l.split_once('=').unwrap().0.to_owned());
        let shown = if kind == "histogram" { name.to_owned() } else { sample };
        exposed.insert((shown, kind.to_owned(), labels.collect()));
    }
    assert_eq!(documented(), exposed);
    pipe.handle.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_cannot_be_had_is_an_error_with_a_remedy() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = Admin::bind(taken.local_addr().unwrap()).await.unwrap_err();
    assert_eq!(error.code(), "admin.bind");
    assert!(error.hint_text().unwrap().contains("--listen"));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_although_a_client_holds_on() {
    let server = serve(Vec::new()).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    server.stop.send(()).unwrap();
    within("the end", server.served).await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}
