//! Servers that do what a real one cannot be made to do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

use std::time::Duration;

use pg_replication::{Client, Config, Encryption, ErrorKind, Lsn, Message, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};

const OK: &[u8] = &[b'R', 0, 0, 0, 8, 0, 0, 0, 0];
const READY: &[u8] = b"Z\0\0\0\x05I";

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

/// Reads the start-up message, or a request for TLS.
async fn first_message(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let length = stream.read_u32().await.unwrap();
    let mut body = vec![0; length as usize - 4];
    stream.read_exact(&mut body).await.unwrap();
    body
}

/// Answers each connection with these bytes and then closes it.
async fn server(answer: Vec<u8>) -> Config {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            first_message(&mut stream).await;
            let _ = stream.write_all(&answer).await;
            // Until the client has gone.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    Config::tcp("127.0.0.1", port).password("c4naryS3cret").connect_timeout(Duration::from_secs(20))
}

fn kind(result: Result<Client>) -> ErrorKind {
    let error = result.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("c4naryS3cret"));
    error.kind()
}

#[tokio::test]
async fn a_password_is_not_given_to_whoever_asks() {
    let clear = server(frame(b'R', &[0, 0, 0, 3])).await;
    assert_eq!(kind(Client::connect(&clear).await), ErrorKind::Authentication);
    let md5 = server([frame(b'R', &[0, 0, 0, 5, 1, 2, 3, 4]), OK.into(), READY.into()].concat()).await;
    assert_eq!(kind(Client::connect(&md5).await), ErrorKind::Authentication);
    Client::connect(&md5.clone().allow_md5(true)).await.unwrap();
    // SCRAM that ends without the server's proof; a mechanism that nobody knows.
    let sasl = [&[0, 0, 0, 10][..], b"SCRAM-SHA-256\0\0"].concat();
    let unproven = server([frame(b'R', &sasl), OK.into(), READY.into()].concat()).await;
    assert_eq!(kind(Client::connect(&unproven).await), ErrorKind::Authentication);
    let unknown = server(frame(b'R', &[&[0, 0, 0, 10][..], b"OTHER\0\0"].concat())).await;
    assert_eq!(kind(Client::connect(&unknown).await), ErrorKind::Authentication);
}

#[tokio::test]
async fn encryption_is_not_given_up() {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = std::sync::Arc::new(
        builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth(),
    );
    let refuses = server(b"N".to_vec()).await;
    let config = refuses.clone().encryption(Encryption::Required(client.clone()));
    assert_eq!(kind(Client::connect(&config).await), ErrorKind::Tls);
    // Whatever follows the answer is no handshake.
    let stuffs = server([&b"S"[..], OK, READY].concat()).await.encryption(Encryption::Required(client));
    assert_eq!(kind(Client::connect(&stuffs).await), ErrorKind::Tls);
}

#[tokio::test]
async fn rubbish_is_an_error() {
    for rubbish in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        &[0; 64],
        b"R\0\0\0\x03",
        b"R\0\0\0\x06\0\0",
        b"Z\0\0\0\x05I",
    ] {
        let result = Client::connect(&server(rubbish.to_vec()).await.max_message(1 << 20)).await;
        let kind = kind(result);
        assert!(matches!(kind, ErrorKind::Protocol | ErrorKind::TooLarge), "{kind:?} for {rubbish:?}");
    }
    let silent = server(Vec::new()).await.connect_timeout(Duration::from_millis(50));
    assert_eq!(kind(Client::connect(&silent).await), ErrorKind::Timeout);
}

/// Speaks enough of the protocol to stream these bytes, and gives what the client said after it.
async fn stream(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: Vec<u8>) -> Vec<u8> {
    first_message(&mut stream).await;
    stream.write_all(&[OK, READY].concat()).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'Q');
    first_message(&mut stream).await;
    stream.write_all(&[frame(b'W', &[0, 0, 0]), bytes].concat()).await.unwrap();
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said).await;
    said
}

#[tokio::test]
async fn a_question_is_answered_over_a_unix_socket_too() {
    let folder = std::env::temp_dir().join(format!("pg-replication-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let socket = folder.join(".s.PGSQL.5432");
    let listener = UnixListener::bind(&socket).unwrap();
    let keep_alive = [&b"k"[..], &9_u64.to_be_bytes(), &0_u64.to_be_bytes(), &[1]].concat();
    let said = tokio::spawn(async move {
        let (connection, _) = listener.accept().await.unwrap();
        stream(connection, [frame(b'd', &keep_alive), frame(b'c', &[])].concat()).await
    });
    let client = Client::connect(&Config::unix(&folder, 5432)).await.unwrap();
    let (mut reader, feedback) = client.start_logical("slot", Lsn(3), &[]).await.unwrap();
    assert_eq!(reader.next().await.unwrap(), Some(Message::KeepAlive { end: Lsn(9), time: 0 }));
    assert_eq!(reader.next().await.unwrap(), None, "an end in order");
    assert_eq!(reader.next().await.unwrap(), None, "and it stays so");
    feedback.flushed(Lsn(5));
    // This server never says that it is done.
    assert_eq!(reader.stop(Duration::from_millis(100)).await.unwrap_err().kind(), ErrorKind::Timeout);
    std::fs::remove_dir_all(&folder).unwrap();
    let said = said.await.unwrap();
    // CopyData with a status: received, flushed, applied. The last one, and then CopyDone.
    let statuses: Vec<&[u8]> = said.chunks_exact(39).filter(|s| s.starts_with(b"d\0\0\0\x26r")).collect();
    let last = statuses.last().unwrap();
    let numbers: Vec<u64> =
        last[6..30].chunks_exact(8).map(|n| u64::from_be_bytes(n.try_into().unwrap())).collect();
    assert_eq!(numbers, [9, 5, 5]);
    assert!(said.ends_with(&frame(b'c', &[])));
}
