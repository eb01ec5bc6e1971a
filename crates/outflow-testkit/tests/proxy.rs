//! Each fault of the proxy, over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use outflow_testkit::proxy::{Direction, Fault, FaultProxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

/// Long enough that only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(20);

/// A server that sends back what it gets.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                _ = tokio::io::copy(&mut reader, &mut writer).await;
                _ = writer.shutdown().await;
            });
        }
    });
    address
}

async fn proxied() -> (FaultProxy, TcpStream) {
    let proxy = FaultProxy::start(echo().await).await.unwrap();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_echoes(&mut client, b"hello").await;
    (proxy, client)
}

async fn assert_echoes(client: &mut TcpStream, bytes: &[u8]) {
    client.write_all(bytes).await.unwrap();
    assert_eq!(receive(client, bytes.len()).await, bytes);
}

async fn receive(client: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut received = vec![0; count];
    timeout(DEADLINE, client.read_exact(&mut received)).await.expect("the bytes arrive").unwrap();
    received
}

/// What the client reads until the connection is over, and how that was.
async fn until_end(client: &mut TcpStream) -> (Vec<u8>, Result<usize, ErrorKind>) {
    let mut received = Vec::new();
    let ended = timeout(DEADLINE, client.read_to_end(&mut received)).await.expect("the connection ends");
    (received, ended.map_err(|e| e.kind()))
}

/// Nothing can be read now. The caller has made sure that what could arrive had its chance.
fn assert_silent(client: &TcpStream) {
    let mut byte = [0];
    assert_eq!(client.try_read(&mut byte).unwrap_err().kind(), ErrorKind::WouldBlock);
}

async fn wait_until(mut condition: impl FnMut() -> bool) {
    let poll = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, poll).await.expect("the condition holds in time");
}

#[tokio::test]
async fn passes_both_ways_and_counts() {
    let (proxy, mut client) = proxied().await;
    let large: Vec<u8> = (0..1_000_000_u32).map(|i| i as u8).collect();
    let (mut reader, mut writer) = client.split();
    let mut received = vec![0; large.len()];
    let (sent, read) = tokio::join!(writer.write_all(&large), reader.read_exact(&mut received));
    sent.unwrap();
    read.unwrap();
    assert!(received == large);

    client.shutdown().await.unwrap(); // a half-closed connection still answers
    assert_eq!(until_end(&mut client).await, (vec![], Ok(0)));
    wait_until(|| proxy.traffic().open == 0).await;
    let traffic = proxy.traffic();
    assert_eq!((traffic.accepted, traffic.reset, traffic.unreachable), (1, 0, 0));
    assert_eq!((traffic.bytes_to_server, traffic.bytes_to_client), (1_000_005, 1_000_005));
}

#[tokio::test]
async fn cut_closes_all_and_refuses_until_healed() {
    let (proxy, mut client) = proxied().await;
    proxy.set(Fault::Cut).await.unwrap();
    assert_eq!(proxy.traffic().open, 0);
    assert_eq!(until_end(&mut client).await, (vec![], Ok(0)));
    let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    proxy.set(Fault::Pass).await.unwrap();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_echoes(&mut client, b"again").await;
}

#[tokio::test]
async fn refuse_leaves_what_exists() {
    let (proxy, mut client) = proxied().await;
    proxy.set(Fault::Refuse).await.unwrap();
    let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_echoes(&mut client, b"still here").await;
}

#[tokio::test]
async fn half_open_takes_bytes_and_resets_when_it_ends() {
    let (proxy, mut client) = proxied().await;
    proxy.set(Fault::HalfOpen).await.unwrap();
    let mut newcomer = TcpStream::connect(proxy.address()).await.unwrap();
    // More than the buffers of the system hold: it was taken, not kept.
    client.write_all(&vec![7; 16 << 20]).await.unwrap();
    newcomer.write_all(&vec![7; 16 << 20]).await.unwrap();
    assert_silent(&client);
    assert_silent(&newcomer);
    wait_until(|| proxy.traffic().bytes_swallowed == 32 << 20).await;
    assert_eq!(proxy.traffic().bytes_to_server, 5);

    proxy.set(Fault::Pass).await.unwrap();
    assert_eq!(until_end(&mut client).await.1, Err(ErrorKind::ConnectionReset));
    assert_eq!(until_end(&mut newcomer).await.1, Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn half_open_spares_a_connection_that_lost_nothing() {
    let (proxy, mut client) = proxied().await;
    proxy.set(Fault::HalfOpen).await.unwrap();
    let mut newcomer = TcpStream::connect(proxy.address()).await.unwrap();
    proxy.set(Fault::Pass).await.unwrap();
    assert_echoes(&mut client, b"whole").await;
    assert_echoes(&mut newcomer, b"whole").await;
}

#[tokio::test]
async fn half_open_one_way_loses_only_the_answers() {
    let (proxy, mut client) = proxied().await;
    proxy.set_one(Direction::ToClient, Fault::HalfOpen).await.unwrap();
    client.write_all(b"a request that is carried out").await.unwrap();
    wait_until(|| proxy.traffic().bytes_to_server == 5 + 29).await;
    assert_silent(&client);
    assert_eq!(proxy.traffic().bytes_to_client, 5);
}

#[tokio::test]
async fn stall_keeps_everything_for_later() {
    let (proxy, mut client) = proxied().await;
    proxy.set(Fault::Stall).await.unwrap();
    // The sender feels it: at some point the system takes no more, as nobody reads.
    let mut sent = 0_usize;
    let chunk: Vec<u8> = (0..100_000_u32).map(|i| i as u8).collect();
    while let Ok(written) = timeout(Duration::from_millis(200), client.write(&chunk[sent % 100_000..])).await
    {
        sent += written.unwrap();
        assert!(sent < 64 << 20, "nothing stops the sender");
    }
    assert_silent(&client);
    assert_eq!(proxy.traffic().bytes_to_server, 5);

    proxy.set(Fault::Pass).await.unwrap();
    let received = receive(&mut client, sent).await;
    assert!(received.iter().enumerate().all(|(i, byte)| *byte == (i % 100_000) as u8));
}

#[tokio::test]
async fn delay_is_kept_and_so_is_order() {
    let (proxy, mut client) = proxied().await;
    let latency = Duration::from_millis(60);
    proxy.set_one(Direction::ToServer, Fault::Delay { latency, jitter: latency }).await.unwrap();
    let numbers: Vec<u8> = (0..200).collect();
    for number in &numbers {
        client.write_all(&[*number]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(receive(&mut client, 200).await, numbers);

    proxy.set(Fault::Delay { latency, jitter: Duration::ZERO }).await.unwrap();
    let started = Instant::now();
    assert_echoes(&mut client, b"late").await;
    assert!(started.elapsed() >= 2 * latency, "late on both ways");
    client.shutdown().await.unwrap();
    assert_eq!(until_end(&mut client).await, (vec![], Ok(0)));
}

#[tokio::test]
async fn throttle_bounds_the_rate() {
    let (proxy, mut client) = proxied().await;
    proxy.set_one(Direction::ToClient, Fault::Throttle { bytes_per_second: 100_000 }).await.unwrap();
    let started = Instant::now();
    assert_echoes(&mut client, &[9; 50_000]).await;
    // Half a second's worth, but for the first slice, which needs no wait.
    assert!(started.elapsed() >= Duration::from_millis(450));
}

#[tokio::test]
async fn throttle_to_nothing_can_be_lifted() {
    let (proxy, mut client) = proxied().await;
    proxy.set_one(Direction::ToServer, Fault::Throttle { bytes_per_second: 0 }).await.unwrap();
    client.write_all(b"later").await.unwrap();
    proxy.set(Fault::Pass).await.unwrap();
    assert_eq!(receive(&mut client, 5).await, b"later");
    assert_eq!(proxy.traffic().bytes_to_server, 10);
}

#[tokio::test]
async fn reset_after_passes_so_many_bytes_and_no_more() {
    let (proxy, mut client) = proxied().await;
    proxy.set_one(Direction::ToClient, Fault::ResetAfter { bytes: 7 }).await.unwrap();
    client.write_all(b"0123456789").await.unwrap();
    let mut received = Vec::new();
    let ended = timeout(DEADLINE, client.read_to_end(&mut received)).await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(received, b"0123456");
    assert_eq!(proxy.traffic().bytes_to_client, 5 + 7);
    wait_until(|| proxy.traffic().open == 0).await;
    assert_eq!(proxy.traffic().reset, 1);

    // New connections have the same number of bytes before them.
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_echoes(&mut client, b"short").await;
}

#[tokio::test]
async fn reset_after_nothing_resets_at_once_and_the_server_sees_it() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::start(server.local_addr().unwrap()).await.unwrap();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let (mut accepted, _) = server.accept().await.unwrap();
    proxy.set(Fault::ResetAfter { bytes: 0 }).await.unwrap();
    assert_eq!(until_end(&mut client).await.1, Err(ErrorKind::ConnectionReset));
    assert_eq!(until_end(&mut accepted).await.1, Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_server_that_is_down_resets_the_client_and_may_come_back() {
    let server = TcpSocket::new_v4().unwrap(); // bound, and deaf
    server.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let proxy = FaultProxy::start(server.local_addr().unwrap()).await.unwrap();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(until_end(&mut client).await.1, Err(ErrorKind::ConnectionReset));
    assert_eq!(proxy.traffic().unreachable, 1);

    let server = server.listen(1).unwrap();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let (mut accepted, _) = server.accept().await.unwrap();
    accepted.write_all(b"welcome").await.unwrap();
    assert_eq!(receive(&mut client, 7).await, b"welcome");
}

#[tokio::test]
async fn dropping_the_proxy_closes_connections_and_port() {
    let (proxy, mut client) = proxied().await;
    let address = proxy.address();
    drop(proxy);
    assert_eq!(until_end(&mut client).await, (vec![], Ok(0)));
    let closed = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, closed).await.expect("the port closes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_may_change_under_load() {
    let proxy = FaultProxy::start(echo().await).await.unwrap();
    let address = proxy.address();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                let mut rounds = 0;
                while rounds < 200 {
                    let Ok(mut client) = TcpStream::connect(address).await else { continue };
                    for _ in 0..10 {
                        let mut answer = [0; 1000];
                        if client.write_all(&[3; 1000]).await.is_err()
                            || client.read_exact(&mut answer).await.is_err()
                        {
                            break;
                        }
                        assert_eq!(answer, [3; 1000]);
                        rounds += 1;
                    }
                }
            })
        })
        .collect();
    let faults = [
        Fault::Cut,
        Fault::HalfOpen,
        Fault::ResetAfter { bytes: 2500 },
        Fault::Stall,
        Fault::Delay { latency: Duration::from_millis(1), jitter: Duration::from_millis(1) },
    ];
    for fault in faults.into_iter().cycle().take(50) {
        proxy.set(fault).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
        proxy.set(Fault::Pass).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for client in clients {
        timeout(DEADLINE, client).await.expect("all faults were lifted").unwrap();
    }
    drop(proxy);
}
