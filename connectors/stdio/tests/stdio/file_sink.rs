//! The sink `file`.

use std::path::Path;

use outflow_connector_stdio::FileSink;
use outflow_sdk::{ConfiguredSink, Findings, Level};

use crate::support::{Outcomes, open, records};

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn records_are_lines_and_acked_once_they_are_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    let mut sink = open(&FileSink::new(&path)).await.unwrap();
    let outcomes = Outcomes::new();
    sink.write(&records(&[Some("1"), None, Some("2")]), outcomes.ack()).await.unwrap();
    sink.write(&records(&[]), outcomes.ack()).await.unwrap();
    sink.write(&records(&[Some("3")]), outcomes.ack()).await.unwrap();
    sink.flush().await.unwrap();
    assert_eq!(outcomes.so_far(), [(1, None), (2, None), (3, None)]);
    assert_eq!(read(&path), "1\n2\n3\n");
    sink.close().await.unwrap();
}

#[tokio::test]
async fn the_next_run_appends_and_cuts_a_torn_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    std::fs::write(&path, "1\n{\"torn\":").unwrap();
    let outcomes = Outcomes::new();
    for value in ["2", "3"] {
        let mut sink = open(&FileSink::new(&path)).await.unwrap();
        sink.write(&records(&[Some(value)]), outcomes.ack()).await.unwrap();
        // Closing is in order: the file is free for the next run, and everything is in it.
        sink.close().await.unwrap();
    }
    assert_eq!(read(&path), "1\n2\n3\n");
    assert_eq!(outcomes.so_far(), [(1, None), (2, None)]);
}

#[tokio::test]
async fn large_records_and_many_small_ones_keep_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    let mut sink = open(&FileSink::new(&path)).await.unwrap();
    let outcomes = Outcomes::new();
    let mut expected = String::new();
    for round in 0..40 {
        let large = "x".repeat(if round % 10 == 0 { 1 << 20 } else { 10_000 });
        let values: Vec<String> = (0..50).map(|i| format!("{round}-{i}")).chain([large]).collect();
        let batch: Vec<Option<&str>> = values.iter().map(|v| Some(v.as_str())).collect();
        sink.write(&records(&batch), outcomes.ack()).await.unwrap();
        expected.extend(values.iter().map(|v| format!("{v}\n")));
    }
    sink.close().await.unwrap();
    assert_eq!(read(&path), expected);
    let order: Vec<u64> = outcomes
        .so_far()
        .iter()
        .map(|(seq, error)| {
            assert_eq!(*error, None);
            *seq
        })
        .collect();
    assert_eq!(order, (1..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_missing_folder_and_a_file_in_use_are_coded() {
    let folder = tempfile::tempdir().unwrap();
    let code = async |path: &Path| match open(&FileSink::new(path)).await {
        Ok(_) => panic!("opened {}", path.display()),
        Err(error) => error.code().to_owned(),
    };
    assert_eq!(code(&folder.path().join("none").join("out.jsonl")).await, "file.not_found");
    let path = folder.path().join("out.jsonl");
    let first = open(&FileSink::new(&path)).await.unwrap();
    assert_eq!(code(&path).await, "file.in_use");
    first.close().await.unwrap();
    open(&FileSink::new(&path)).await.unwrap().close().await.unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn after_a_failure_nothing_later_is_written() {
    // A device that is always full.
    let mut sink = open(&FileSink::new("/dev/full")).await.unwrap();
    let outcomes = Outcomes::new();
    for _ in 0..3 {
        sink.write(&records(&[Some("1")]), outcomes.ack()).await.unwrap();
        sink.flush().await.unwrap();
    }
    let full = || Some("file.disk_full".to_owned());
    assert_eq!(outcomes.so_far(), [(1, full()), (2, full()), (3, full())]);
    sink.close().await.unwrap();
}

#[tokio::test]
async fn check_looks_at_the_folder_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let worst = async |path: &Path| {
        let mut findings = Findings::new();
        FileSink::new(path).check(&mut findings).await;
        findings.worst()
    };
    assert_eq!(worst(&folder.path().join("out.jsonl")).await, Some(Level::Ok));
    assert_eq!(worst(&folder.path().join("none/out.jsonl")).await, Some(Level::Error));
    assert_eq!(worst(folder.path()).await, Some(Level::Error));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
