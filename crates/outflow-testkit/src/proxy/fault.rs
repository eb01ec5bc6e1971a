//! What the proxy can do to a connection.

use std::time::Duration;

/// What happens to the traffic through a [`FaultProxy`](super::FaultProxy).
///
/// `Cut` and `Refuse` concern a connection as a whole: TCP knows no half of them, so they act on both directions
/// wherever they are set. All others act in the direction for which they are set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Everything passes as it comes.
    #[default]
    Pass,
    /// Every connection is closed, and new ones are refused.
    Cut,
    /// New connections are refused; those that exist go on.
    Refuse,
    /// The other side has vanished without a word: connections are accepted and bytes are taken, but nothing arrives.
    /// A connection that lost bytes so is reset when the fault ends, as nothing could repair its stream.
    HalfOpen,
    /// Nothing is read and nothing is passed on, and no connection is closed. The sender feels it once the buffers
    /// of the system are full. When the fault ends, everything arrives, whole and in order.
    Stall,
    /// Every byte arrives late, by `latency` plus or minus up to `jitter`. Order is kept.
    Delay {
        /// How late, in the middle.
        latency: Duration,
        /// The largest deviation; what exceeds `latency` counts as no delay.
        jitter: Duration,
    },
    /// A connection passes at most so many bytes a second.
    Throttle {
        /// Bytes a second and connection; 0 passes nothing.
        bytes_per_second: u64,
    },
    /// A connection passes so many bytes more, counted from when the fault was set or the connection was accepted,
    /// and is then reset (RST) towards both sides. 0 resets it at once.
    ResetAfter {
        /// How many bytes still pass.
        bytes: u64,
    },
}

/// One of the two ways through a [`FaultProxy`](super::FaultProxy).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What the client sends.
    ToServer,
    /// What the server sends.
    ToClient,
}

/// The faults in force.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) to_server: Fault,
    pub(super) to_client: Fault,
    /// Counts the changes of each direction, so that a fault that is set again starts anew.
    pub(super) to_server_version: u64,
    pub(super) to_client_version: u64,
}

impl Faults {
    pub(super) fn set(&mut self, direction: Direction, fault: Fault) {
        let (slot, version) = match direction {
            Direction::ToServer => (&mut self.to_server, &mut self.to_server_version),
            Direction::ToClient => (&mut self.to_client, &mut self.to_client_version),
        };
        *slot = fault;
        *version += 1;
    }

    pub(super) fn of(&self, direction: Direction) -> (Fault, u64) {
        match direction {
            Direction::ToServer => (self.to_server, self.to_server_version),
            Direction::ToClient => (self.to_client, self.to_client_version),
        }
    }

    pub(super) fn either(&self, fault: Fault) -> bool {
        self.to_server == fault || self.to_client == fault
    }

    pub(super) fn accepts(&self) -> bool {
        !self.either(Fault::Cut) && !self.either(Fault::Refuse)
    }
}
