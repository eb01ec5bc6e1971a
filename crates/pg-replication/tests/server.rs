//! Against a PostgreSQL server; `dev/test` starts it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

mod support;

use std::time::Duration;

use pg_replication::{Client, Encryption, ErrorKind, Export, Lsn, Message};
use support::{OPTIONS, Server, drain, eventually, tls};

/// One message of the plug-in: its place and its bytes.
type Data = (Lsn, Vec<u8>);

async fn write(server: &Server, transactions: usize) {
    for n in 0..transactions {
        let values =
            format!("SELECT g, repeat('ä', g % 300) FROM generate_series({n} * 1000, {n} * 1000 + 99) g");
        server.sql(&format!("INSERT INTO items {values}")).await;
    }
}

#[tokio::test]
async fn it_sees_what_another_client_sees_on_the_same_slot() {
    let server = Server::new("frames").await;
    let mut client = Client::connect(&server.config()).await.unwrap();
    let slot = client.create_slot(&server.slot, "pgoutput", false, Export::Nothing).await.unwrap();
    assert_eq!((slot.name.as_str(), slot.snapshot), (server.slot.as_str(), None));
    write(&server, 7).await;
    // The stream gives the description of a table no place; the function does.
    let mut theirs = server.peek().await;
    theirs.iter_mut().filter(|(_, data)| data[0] == b'R').for_each(|(place, _)| *place = Lsn::ZERO);
    assert!(theirs.len() > 700, "{} messages", theirs.len());
    let (mut reader, feedback) =
        client.start_logical(&server.slot, slot.consistent_point, OPTIONS).await.unwrap();
    let ours = drain(&mut reader, theirs.len()).await;
    assert_eq!(ours, theirs);
    drop((reader, feedback));

    // The same when each read is given up many times, and when it is read in one go from what is there.
    eventually("the slot is free", async || !server.slot_is_active().await).await;
    let client = Client::connect(&server.config()).await.unwrap();
    let (mut reader, _feedback) =
        client.start_logical(&server.slot, slot.consistent_point, OPTIONS).await.unwrap();
    let mut again: Vec<Data> = Vec::new();
    while again.len() < theirs.len() {
        tokio::select! {
            biased;
            // Polled once or twice, and dropped.
            () = tokio::task::yield_now() => {}
            message = reader.next() => again.extend(data(message.unwrap().unwrap())),
        }
        tokio::select! {
            biased;
            message = reader.next() => again.extend(data(message.unwrap().unwrap())),
            () = tokio::task::yield_now() => {}
        }
        while let Some(message) = reader.try_next().unwrap() {
            again.extend(data(message));
        }
    }
    assert_eq!(again, theirs);
}

fn data(message: Message<'_>) -> Option<Data> {
    match message {
        Message::Data { start, data, .. } => Some((start, data.to_vec())),
        Message::KeepAlive { .. } => None,
    }
}

#[tokio::test]
async fn the_slot_follows_what_is_flushed_and_no_further() {
    let server = Server::new("flushed").await;
    let mut client = Client::connect(&server.config()).await.unwrap();
    let system = client.identify_system().await.unwrap();
    assert_eq!(system.database.as_deref(), Some(server.database.as_str()));
    assert!(system.timeline >= 1 && system.end > Lsn::ZERO && system.id.parse::<u64>().is_ok(), "{system:?}");
    let slot = client.create_slot(&server.slot, "pgoutput", false, Export::Nothing).await.unwrap();
    write(&server, 3).await;
    let (mut reader, feedback) =
        client.start_logical(&server.slot, slot.consistent_point, OPTIONS).await.unwrap();
    let all = drain(&mut reader, 307).await;
    assert_eq!(server.confirmed().await, slot.consistent_point, "nothing was said to be safe");
    // The commits: pgoutput's 'C'.
    let commits: Vec<Lsn> = all.iter().filter(|(_, data)| data[0] == b'C').map(|(at, _)| *at).collect();
    assert_eq!(commits.len(), 3);
    for commit in &commits {
        feedback.flushed(*commit);
        feedback.flushed(Lsn(commit.0 - 1));
        assert_eq!(feedback.confirmed(), *commit, "it never goes back");
        eventually("the slot follows", async || server.confirmed().await == *commit).await;
    }
    // Idle, with a log that grows elsewhere: an answer tells how far the server is.
    server.sql("CREATE TABLE elsewhere AS SELECT generate_series(1, 100)").await;
    let end = server.end().await;
    while reader.received() < end {
        feedback.ask();
        reader.next().await.unwrap().unwrap();
    }
    reader.stop(Duration::from_secs(20)).await.unwrap();
    assert!(!server.slot_is_active().await, "the slot is free as soon as it has stopped");
    assert_eq!(server.confirmed().await, commits[2]);
}

#[tokio::test]
async fn the_server_is_told_while_nobody_reads() {
    let server = Server::new("unread").await;
    let config =
        server.config().options("-c wal_sender_timeout=1000").status_interval(Duration::from_millis(200));
    let mut client = Client::connect(&config).await.unwrap();
    let process = client.process();
    let slot = client.create_slot(&server.slot, "pgoutput", false, Export::Nothing).await.unwrap();
    // More than all buffers in between can hold.
    server.sql("INSERT INTO items SELECT g, repeat('x', 1000) FROM generate_series(1, 30000) g").await;
    let (mut reader, _feedback) =
        client.start_logical(&server.slot, slot.consistent_point, OPTIONS).await.unwrap();
    let first = server.number("SELECT extract(epoch FROM now())::bigint").await;
    // By the server's own clock it has heard of us for four times as long as it waits.
    eventually("four seconds of answers", async || {
        let query = format!(
            "SELECT coalesce(max(extract(epoch FROM reply_time)::bigint), 0) FROM pg_stat_replication WHERE pid = {process}"
        );
        server.number(&query).await >= first + 4
    })
    .await;
    assert_eq!(drain(&mut reader, 30_003).await.len(), 30_003);
}

#[tokio::test]
async fn a_snapshot_of_the_beginning_can_be_imported() {
    let server = Server::new("export").await;
    server.sql("INSERT INTO items VALUES (1, 'before')").await;
    let mut client = Client::connect(&server.config()).await.unwrap();
    let slot = client.create_slot(&server.slot, "pgoutput", true, Export::Snapshot).await.unwrap();
    server.sql("INSERT INTO items VALUES (2, 'after')").await;
    let snapshot = slot.snapshot.unwrap();
    let count = server
        .rows(&format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '{snapshot}'; SELECT count(*) FROM items; COMMIT"
        ))
        .await;
    assert_eq!(count, ["1"]);
    let (mut reader, _feedback) =
        client.start_logical(&server.slot, slot.consistent_point, OPTIONS).await.unwrap();
    // Begin, relation, insert, commit: of the later row alone.
    let all = drain(&mut reader, 4).await;
    assert!(all[2].1.windows(5).any(|bytes| bytes == b"after"));
}

#[tokio::test]
async fn a_login_is_private_and_tied_to_its_connection() {
    let server = Server::new("tls").await;
    let trusted = tls(true);
    let config = server.config().encryption(Encryption::Required(trusted.clone()));
    let mut client = Client::connect(&config).await.unwrap();
    let row =
        client.query(&format!("SELECT ssl FROM pg_stat_ssl WHERE pid = {}", client.process())).await.unwrap();
    assert_eq!(row[0]["ssl"].as_deref(), Some("t"));
    let slot = client.create_slot(&server.slot, "pgoutput", true, Export::Nothing).await.unwrap();
    write(&server, 1).await;
    let (mut reader, _feedback) =
        client.start_logical(&server.slot, slot.consistent_point, OPTIONS).await.unwrap();
    assert_eq!(drain(&mut reader, 103).await.len(), 103);

    Client::connect(&server.config().encryption(Encryption::Offered(trusted))).await.unwrap();
    let error =
        Client::connect(&server.config().encryption(Encryption::Required(tls(false)))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
}

#[tokio::test]
async fn what_the_server_refuses_is_said_in_its_words() {
    let server = Server::new("refused").await;
    let refused = |error: pg_replication::Error| (error.kind(), error.code().unwrap_or_default().to_owned());
    let connect = async || Client::connect(&server.config()).await.unwrap();
    let wrong = Client::connect(&server.config().password("c4naryS3cret")).await.unwrap_err();
    assert!(!format!("{wrong} {wrong:?}").contains("c4naryS3cret"));
    assert_eq!(refused(wrong), (ErrorKind::Authentication, "28P01".into()));
    let missing = Client::connect(&server.config().database("no_such_database")).await.unwrap_err();
    assert_eq!(refused(missing), (ErrorKind::Server, "3D000".into()));
    let missing = connect().await.start_logical("no_such_slot", Lsn::ZERO, OPTIONS).await.unwrap_err();
    assert_eq!(refused(missing), (ErrorKind::Server, "42704".into()));

    // A command that is refused leaves the connection as it was.
    let mut client = connect().await;
    assert_eq!(refused(client.query("SELECT 1/0").await.unwrap_err()), (ErrorKind::Server, "22012".into()));
    client.create_slot(&server.slot, "pgoutput", false, Export::Nothing).await.unwrap();
    let again = client.create_slot(&server.slot, "pgoutput", false, Export::Nothing).await.unwrap_err();
    assert_eq!(refused(again), (ErrorKind::Server, "42710".into()));
    let (mut reader, _feedback) = client.start_logical(&server.slot, Lsn::ZERO, OPTIONS).await.unwrap();
    let second = connect().await.start_logical(&server.slot, Lsn::ZERO, OPTIONS).await.unwrap_err();
    assert_eq!(refused(second), (ErrorKind::Server, "55006".into()));

    // The end from outside.
    server
        .sql(&format!(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{}'",
            server.slot
        ))
        .await;
    let ended = loop {
        match reader.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("that was no end in order"),
            Err(error) => break error,
        }
    };
    assert_eq!(refused(ended), (ErrorKind::Server, "57P01".into()));
    eventually("the slot is free", async || !server.slot_is_active().await).await;
    connect().await.drop_slot(&server.slot, true).await.unwrap();
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused() {
    let server = Server::new("large").await;
    let mut client = Client::connect(&server.config().max_message(1 << 20)).await.unwrap();
    let slot = client.create_slot(&server.slot, "pgoutput", true, Export::Nothing).await.unwrap();
    server.sql("INSERT INTO items VALUES (1, repeat('x', 2000000))").await;
    let (mut reader, _feedback) =
        client.start_logical(&server.slot, slot.consistent_point, OPTIONS).await.unwrap();
    let error = loop {
        match reader.next().await {
            Ok(message) => assert!(message.is_some()),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
}
