//! The examples do what they say.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// Starts `big-orders` in `folder`, waits for these lines, then stops it as Ctrl-C does. It says nothing more.
async fn big_orders(folder: &std::path::Path, expected: &[&str]) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_big-orders"));
    let mut child =
        command.current_dir(folder).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in expected {
        let said = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await;
        assert_eq!(said.expect("a line in time").unwrap().as_deref(), Some(*line));
    }
    catches_interrupts(child.id().unwrap()).await;
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    assert_eq!(lines.next_line().await.unwrap(), None);
    assert!(child.wait().await.unwrap().success());
}

/// Waits until a process handles Ctrl-C: `run_until` comes after the first lines may have been printed.
async fn catches_interrupts(pid: u32) {
    let catches = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let mask = status.lines().find_map(|l| l.strip_prefix("SigCgt:")).unwrap().trim();
        u64::from_str_radix(mask, 16).unwrap() & (1 << (Signal::INT.as_raw() - 1)) != 0
    };
    let wait = async {
        while !catches() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("a handler in time");
}

#[tokio::test]
async fn big_orders_of_sqlite_are_told_once_and_without_the_card() {
    let folder = tempfile::tempdir().unwrap();
    big_orders(folder.path(), &["order 1 of Ada: 1200, card ****"]).await;
    // The second run stores two orders more and goes on after the first.
    big_orders(folder.path(), &["order 3 of Ada: 1200, card ****"]).await;
}

#[test]
fn an_outbox_in_sqlite_leaves_as_messages() {
    let folder = tempfile::tempdir().unwrap();
    for run in 0..2_i64 {
        let ended = Command::new(env!("CARGO_BIN_EXE_outbox")).current_dir(folder.path()).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        let said = String::from_utf8(ended.stdout).unwrap();
        let messages: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        // Delivered rows are gone: the second run tells only its own.
        let (first, second) = (2 * run + 1, 2 * run + 2);
        let told: Vec<_> = messages.iter().map(|m| (&m["id"], &m["key"], &m["payload"])).collect();
        let expected = [
            (
                json!(format!("placed-{first}")),
                json!(format!("order-{first}")),
                json!({"customer": "Ada", "total": 1200}),
            ),
            (
                json!(format!("placed-{second}")),
                json!(format!("order-{second}")),
                json!({"customer": "Grace", "total": 80}),
            ),
        ];
        assert_eq!(
            told,
            expected.iter().map(|(id, key, payload)| (id, key, payload)).collect::<Vec<_>>(),
            "{said}"
        );
    }
}
