//! The source `file`.

use std::io::Write as _;
use std::path::Path;

use outflow_connector_stdio::{FileSource, Generator};
use outflow_sdk::{ChangeBatch, Checkpoint, ErrorKind, Op};

use crate::support::{Intake, after, run_to_end, start, text, texts};

/// Lines of outflow-json, as a `tap` would write them.
async fn lines(rows: u64, seed: u64) -> Vec<String> {
    texts(&run_to_end(&Generator::new().rows(rows).seed(seed), Checkpoint::new()).await.unwrap())
}

fn write(path: &Path, lines: &[String]) {
    std::fs::write(path, lines.iter().map(|l| format!("{l}\n")).collect::<String>()).unwrap();
}

async fn replay(path: &Path, from: Checkpoint) -> Vec<ChangeBatch> {
    run_to_end(&FileSource::new(path), from).await.unwrap()
}

#[tokio::test]
async fn what_was_written_comes_again_with_its_ids() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    // Two origins, so that a batch must end between them.
    let mut all = lines(2_000, 1).await;
    all.extend(lines(300, 2).await);
    write(&path, &all);
    let batches = replay(&path, Checkpoint::new()).await;
    assert_eq!(texts(&batches), all);
    let mut done = 0;
    for batch in &batches {
        done += batch.len();
        assert_eq!(texts(&replay(&path, after(batch)).await), all[done..]);
        assert!(batch.end().unwrap().as_str().starts_with(&format!("{done}:")));
    }
}

#[tokio::test]
async fn blank_lines_and_a_missing_last_line_break_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    let all = lines(3, 1).await;
    std::fs::write(&path, format!("\n{}\n \r\n{}\r\n{}", all[0], all[1], all[2])).unwrap();
    let batches = replay(&path, Checkpoint::new()).await;
    assert_eq!(texts(&batches), all);
    assert!(replay(&path, after(batches.last().unwrap())).await.is_empty());
    std::fs::write(&path, "").unwrap();
    assert!(replay(&path, Checkpoint::new()).await.is_empty());
}

#[tokio::test]
async fn dead_letters_give_back_their_events() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dead.jsonl");
    let all = lines(3, 1).await;
    let letter = |event: &String| {
        let reason = r#""error":{"code":"x.y","message":"x.y (stage=sink)"},"op""#;
        event.replacen("\"op\"", reason, 1)
    };
    write(&path, &[letter(&all[0]), all[1].clone(), letter(&all[2])]);
    assert_eq!(texts(&replay(&path, Checkpoint::new()).await), all);
}

#[tokio::test]
async fn a_line_that_cannot_be_read_is_an_undecodable_event_with_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    let all = lines(2, 1).await;
    write(&path, &[all[0].clone(), "{\"op\": \"nope\"}".to_owned(), all[1].clone()]);
    let batches = replay(&path, Checkpoint::new()).await;
    let events: Vec<_> = batches.iter().flat_map(|b| b.iter()).collect();
    assert_eq!(events.len(), 3);
    assert_eq!([text(events[0]), text(events[2])], [all[0].clone(), all[1].clone()]);
    assert_eq!(events[1].op(), Op::Undecodable);
    let message = events[1].message().unwrap();
    assert_eq!(message.kind(), Some("json.malformed"));
    assert_eq!(message.body(), Some(&b"{\"op\": \"nope\"}"[..]));
    assert_eq!(message.headers().unwrap().get("line").unwrap().as_i64(), Some(2));
    // The same line has the same id on every replay.
    let again = replay(&path, after(&batches[0])).await;
    assert_eq!(again[0].get(0).unwrap().id().to_string(), events[1].id().to_string());
}

#[tokio::test]
async fn another_file_in_its_place_is_a_lost_position() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    let all = lines(10, 1).await;
    write(&path, &all);
    let from = after(replay(&path, Checkpoint::new()).await.last().unwrap());
    for lines in [&all[..3], &[all.join("    "), String::new()][..]] {
        write(&path, lines);
        let error = run_to_end(&FileSource::new(&path), from.clone()).await.unwrap_err();
        assert_eq!((error.code(), error.kind()), ("file.position_lost", ErrorKind::Position));
    }
    std::fs::remove_file(&path).unwrap();
    let error = run_to_end(&FileSource::new(&path), from).await.unwrap_err();
    assert_eq!(error.code(), "file.not_found");
    let error = run_to_end(&FileSource::new(folder.path()), Checkpoint::new()).await.unwrap_err();
    assert_eq!(error.code(), "file.is_folder");
}

#[tokio::test]
async fn a_followed_file_gives_whole_lines_as_they_come() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    let all = lines(3, 1).await;
    write(&path, &all[..1]);
    let intake = Intake::new(usize::MAX);
    let source = FileSource::new(&path).follow();
    let run = tokio::spawn(start(&source, intake.context(Checkpoint::new(), false)).await.unwrap());
    assert_eq!(texts(&[intake.next().await]), all[..1]);
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    let (half, rest) = all[1].split_at(20);
    file.write_all(half.as_bytes()).unwrap();
    file.write_all(format!("{rest}\n").as_bytes()).unwrap();
    assert_eq!(texts(&[intake.next().await]), all[1..2]);
    file.write_all(format!("{}\n", all[2]).as_bytes()).unwrap();
    let last = intake.next().await;
    assert_eq!(texts(std::slice::from_ref(&last)), all[2..]);
    // It became shorter: what was read is no longer what is there.
    file.set_len(5).unwrap();
    let error = run.await.unwrap().unwrap_err();
    assert_eq!(error.code(), "file.position_lost");
}

#[tokio::test]
async fn a_followed_file_ends_at_what_is_there_when_that_is_all_that_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    let all = lines(3, 1).await;
    write(&path, &all);
    let intake = Intake::new(usize::MAX);
    let source = FileSource::new(&path).follow();
    start(&source, intake.context(Checkpoint::new(), true)).await.unwrap().await.unwrap();
    assert_eq!(texts(&intake.drain()), all);
}

#[tokio::test]
async fn back_pressure_stops_the_reading_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    let all = lines(5_000, 1).await;
    write(&path, &all);
    let intake = Intake::new(1);
    let source = FileSource::new(&path);
    let run = tokio::spawn(start(&source, intake.context(Checkpoint::new(), false)).await.unwrap());
    let mut read = Vec::new();
    while read.len() < all.len() {
        let batch = intake.next().await;
        assert!(batch.len() <= 1000);
        read.extend(batch.iter().map(text));
    }
    assert_eq!(read, all);
    run.await.unwrap().unwrap();
}
