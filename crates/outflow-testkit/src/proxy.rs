//! A TCP proxy that breaks connections on command, to put between a connector and a real server.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use outflow_testkit::proxy::{Fault, FaultProxy};
//!
//! let proxy = FaultProxy::start("127.0.0.1:5432").await?;
//! let url = format!("postgres://shop@{}/shop", proxy.address());
//! // … a pipeline runs against `url` …
//! proxy.set(Fault::Cut).await?;
//! proxy.set(Fault::Pass).await?;
//! # Ok(())
//! # }
//! ```

mod fault;
mod pump;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use fault::Faults;
use pump::{End, Pump};

pub use fault::{Direction, Fault};

const BACKLOG: u32 = 1024;
const RETRY_ACCEPT: Duration = Duration::from_millis(10);

/// A TCP proxy on an ephemeral loopback port in front of one server.
///
/// Its address stays the same for its whole life, also while it refuses connections. Its tasks run on the tokio
/// runtime that called [`start`](Self::start); a test that blocks its thread needs the multi-thread flavour.
/// Dropping the proxy closes every connection and the port.
pub struct FaultProxy {
    address: SocketAddr,
    target: SocketAddr,
    counters: Arc<Counters>,
    faults: watch::Sender<Faults>,
    open: watch::Sender<u64>,
    accepting: Mutex<Option<JoinHandle<()>>>,
    /// Bound and never listening: keeps the port ours while nothing listens on it.
    _port: TcpSocket,
}

#[derive(Default)]
struct Counters {
    accepted: AtomicU64,
    unreachable: AtomicU64,
    reset: AtomicU64,
    to_server: AtomicU64,
    to_client: AtomicU64,
    swallowed: AtomicU64,
}

/// What has gone through a [`FaultProxy`] since it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections that are open now.
    pub open: u64,
    /// Connections that the server did not take; the client's were reset.
    pub unreachable: u64,
    /// Connections that ended in a reset.
    pub reset: u64,
    /// Bytes passed on to the server.
    pub bytes_to_server: u64,
    /// Bytes passed on to clients.
    pub bytes_to_client: u64,
    /// Bytes that [`Fault::HalfOpen`] took from either side.
    pub bytes_swallowed: u64,
}

impl FaultProxy {
    /// Starts a proxy in front of `server`, an address or `host:port`. The server need not be up.
    ///
    /// # Errors
    /// When `server` has no address or no port can be bound.
    pub async fn start(server: impl tokio::net::ToSocketAddrs) -> io::Result<Self> {
        let target = lookup_host(server)
            .await?
            .next()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the server's name has no address"))?;
        let port = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let proxy = Self {
            address: port.local_addr()?,
            target,
            counters: Arc::default(),
            faults: watch::Sender::new(Faults::default()),
            open: watch::Sender::new(0),
            accepting: Mutex::new(None),
            _port: port,
        };
        proxy.set(Fault::Pass).await?;
        Ok(proxy)
    }

    /// The address to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the fault of both directions, for connections that exist and for new ones.
    ///
    /// When it returns, the fault is in force: after [`Fault::Cut`] every connection has been closed and a new one
    /// is refused; after [`Fault::Pass`] a new one is accepted.
    ///
    /// # Errors
    /// When the port cannot be listened on again.
    pub async fn set(&self, fault: Fault) -> io::Result<()> {
        self.change(|faults| {
            faults.set(Direction::ToServer, fault);
            faults.set(Direction::ToClient, fault);
        })
        .await
    }

    /// Sets the fault of one direction and leaves the other as it is.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub async fn set_one(&self, direction: Direction, fault: Fault) -> io::Result<()> {
        self.change(|faults| faults.set(direction, fault)).await
    }

    /// What has gone through.
    pub fn traffic(&self) -> Traffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            accepted: read(&self.counters.accepted),
            open: *self.open.borrow(),
            unreachable: read(&self.counters.unreachable),
            reset: read(&self.counters.reset),
            bytes_to_server: read(&self.counters.to_server),
            bytes_to_client: read(&self.counters.to_client),
            bytes_swallowed: read(&self.counters.swallowed),
        }
    }

    async fn change(&self, change: impl FnOnce(&mut Faults)) -> io::Result<()> {
        let mut accepting = self.accepting.lock().await;
        self.faults.send_modify(change);
        let faults = *self.faults.borrow();
        match (faults.accepts(), accepting.take()) {
            (true, None) => {
                let listener = bind(self.address)?.listen(BACKLOG)?;
                *accepting = Some(tokio::spawn(self.accept(listener)));
            }
            (true, running) => *accepting = running,
            (false, Some(running)) => {
                // With the listener gone, the system refuses by itself.
                running.abort();
                _ = running.await;
            }
            (false, None) => {}
        }
        if faults.either(Fault::Cut) {
            // The sender lives in `self`, so this cannot fail.
            _ = self.open.subscribe().wait_for(|open| *open == 0).await;
        }
        Ok(())
    }

    /// The task that takes connections. It ends when it is aborted; the connections live on.
    fn accept(&self, listener: TcpListener) -> impl Future<Output = ()> + use<> {
        let (target, counters) = (self.target, Arc::clone(&self.counters));
        let (faults, open) = (self.faults.subscribe(), self.open.clone());
        async move {
            loop {
                let Ok((client, _)) = listener.accept().await else {
                    // The client was faster, or file descriptors ran out: those come back.
                    tokio::time::sleep(RETRY_ACCEPT).await;
                    continue;
                };
                counters.accepted.fetch_add(1, Ordering::Relaxed);
                let open = OpenConnection::new(open.clone());
                let (counters, faults) = (Arc::clone(&counters), faults.clone());
                tokio::spawn(async move {
                    connection(client, target, faults, &counters).await;
                    drop(open);
                });
            }
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        // Connections end by themselves when the sender of the faults is gone.
        if let Some(accepting) = self.accepting.get_mut() {
            accepting.abort();
        }
    }
}

/// Counts a connection as open for as long as it lives.
struct OpenConnection(watch::Sender<u64>);

impl OpenConnection {
    fn new(open: watch::Sender<u64>) -> Self {
        open.send_modify(|open| *open += 1);
        Self(open)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Serves one client to its end, and closes both its sockets.
async fn connection(
    mut client: TcpStream,
    target: SocketAddr,
    mut faults: watch::Receiver<Faults>,
    counters: &Counters,
) {
    let reset = |streams: &[&TcpStream]| {
        counters.reset.fetch_add(1, Ordering::Relaxed);
        for stream in streams {
            // Closing a socket that lingers for no time sends RST. It fails only where the peer was faster.
            _ = stream.set_zero_linger();
        }
    };
    let mut server = match connect(&mut client, target, &mut faults, counters).await {
        Ok(server) => server,
        Err(End::Closed) => return,
        Err(End::Reset) => return reset(&[&client]),
    };
    // Delays are ours to add, not the kernel's; a failure costs only precision.
    _ = client.set_nodelay(true);
    _ = server.set_nodelay(true);

    let ended = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let to_server = Pump {
            reader: from_client,
            writer: to_server,
            direction: Direction::ToServer,
            faults: faults.clone(),
            passed: &counters.to_server,
            swallowed: &counters.swallowed,
        };
        let to_client = Pump {
            reader: from_server,
            writer: to_client,
            direction: Direction::ToClient,
            faults,
            passed: &counters.to_client,
            swallowed: &counters.swallowed,
        };
        tokio::try_join!(to_server.run(), to_client.run())
    };
    if ended == Err(End::Reset) {
        reset(&[&client, &server]);
    }
}

/// Connects to the server, which a half-open proxy does not do before the fault ends.
async fn connect(
    client: &mut TcpStream,
    target: SocketAddr,
    faults: &mut watch::Receiver<Faults>,
    counters: &Counters,
) -> Result<TcpStream, End> {
    let half_open = faults.borrow_and_update().either(Fault::HalfOpen);
    if half_open {
        swallow_until_healed(client, faults, counters).await?;
    }
    let cut = async {
        // Only a sender that is gone ends this with an error, and that is a cut as well.
        _ = faults.wait_for(|f| f.either(Fault::Cut)).await;
    };
    tokio::select! {
        () = cut => Err(End::Closed),
        server = TcpStream::connect(target) => server.map_err(|_| {
            counters.unreachable.fetch_add(1, Ordering::Relaxed);
            End::Reset
        }),
    }
}

/// Takes what the client sends and drops it, until the fault ends. Then a connection that lost bytes is reset.
async fn swallow_until_healed(
    client: &mut TcpStream,
    faults: &mut watch::Receiver<Faults>,
    counters: &Counters,
) -> Result<(), End> {
    let mut swallowed = false;
    let mut buffer = vec![0; 64 << 10];
    loop {
        tokio::select! {
            biased;
            changed = faults.changed() => {
                changed.map_err(|_| End::Closed)?;
                let now = *faults.borrow_and_update();
                if now.either(Fault::Cut) {
                    return Err(End::Closed);
                }
                if !now.either(Fault::HalfOpen) {
                    return if swallowed { Err(End::Reset) } else { Ok(()) };
                }
            }
            read = client.read(&mut buffer) => match read {
                Ok(0) => return Err(End::Closed),
                Ok(read) => {
                    swallowed = true;
                    counters.swallowed.fetch_add(read as u64, Ordering::Relaxed);
                }
                Err(_) => return Err(End::Reset),
            },
        }
    }
}
