//! Start-up: who we are, and the proof of it.

use std::collections::HashMap;

use bytes::BytesMut;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, ChannelBinding, ScramSha256};
use postgres_protocol::message::frontend;
use tokio::io::AsyncWriteExt as _;

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result, ServerError};
use crate::frame::Frames;
use crate::socket::Socket;

/// A session that is ready for commands.
pub(crate) struct Session {
    pub(crate) socket: Socket,
    pub(crate) frames: Frames,
    pub(crate) parameters: HashMap<String, String>,
    pub(crate) process: i32,
}

impl Session {
    pub(crate) async fn start(config: &Config) -> Result<Self> {
        let socket = Socket::connect(config).await?;
        let frames = Frames::new(config.max_message);
        let mut session = Self { socket, frames, parameters: HashMap::new(), process: 0 };
        let mut parameters = vec![
            ("user", config.user.as_str()),
            ("database", &config.database),
            ("replication", "database"),
            ("client_encoding", "UTF8"),
            ("application_name", &config.application_name),
        ];
        parameters.extend(config.options.as_deref().map(|options| ("options", options)));
        let mut message = BytesMut::new();
        frontend::startup_message(parameters, &mut message).map_err(unsendable)?;
        session.send(&message).await?;
        Authentication { config, scram: None, proven: false }.run(&mut session).await?;
        session.ready().await?;
        Ok(session)
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.socket.write_all(bytes).await.map_err(Error::broken)?;
        self.socket.flush().await.map_err(Error::broken)
    }

    /// The next message, without those that may come at any time. An error of the server is one here.
    pub(crate) async fn receive(&mut self) -> Result<(u8, Vec<u8>)> {
        loop {
            let Some(frame) = self.frames.take()? else {
                if !self.frames.fill(&mut self.socket).await? {
                    return Err(Error::closed());
                }
                continue;
            };
            let body = self.frames.body(&frame);
            match frame.tag {
                b'E' => return Err(ServerError::parse(body).into()),
                b'N' => {}
                b'S' => {
                    let mut words = body.split(|byte| *byte == 0).map(String::from_utf8_lossy);
                    if let (Some(name), Some(value)) = (words.next(), words.next()) {
                        self.parameters.insert(name.into_owned(), value.into_owned());
                    }
                }
                tag => return Ok((tag, body.to_vec())),
            }
        }
    }

    async fn ready(&mut self) -> Result<()> {
        loop {
            match self.receive().await? {
                (b'K', body) => {
                    self.process = body.first_chunk().map_or(0, |bytes| i32::from_be_bytes(*bytes));
                }
                (b'Z', _) => return Ok(()),
                (tag, _) => return Err(unexpected(tag, "start-up")),
            }
        }
    }
}

struct Authentication<'a> {
    config: &'a Config,
    scram: Option<ScramSha256>,
    /// The server has proven that it knows the password too.
    proven: bool,
}

impl Authentication<'_> {
    async fn run(mut self, session: &mut Session) -> Result<()> {
        loop {
            let (tag, body) = session.receive().await?;
            if tag != b'R' {
                return Err(unexpected(tag, "authentication"));
            }
            let Some((kind, data)) = body.split_first_chunk() else {
                return Err(Error::protocol("an authentication request of no kind"));
            };
            let mut answer = BytesMut::new();
            match u32::from_be_bytes(*kind) {
                0 if self.scram.is_none() || self.proven => return Ok(()),
                0 => {
                    return Err(refused("the server ended SCRAM without a proof that it knows the password"));
                }
                3 if session.socket.is_private() => {
                    frontend::password_message(self.password()?, &mut answer).map_err(unsendable)?;
                }
                3 => {
                    return Err(refused(
                        "the server asks for the password in the clear, over a connection that is not encrypted",
                    ));
                }
                5 if self.config.allow_md5 => {
                    let salt = data.first_chunk().ok_or_else(|| Error::protocol("MD5 without a salt"))?;
                    let hash = md5_hash(self.config.user.as_bytes(), self.password()?, *salt);
                    frontend::password_message(hash.as_bytes(), &mut answer).map_err(unsendable)?;
                }
                5 => {
                    return Err(refused(
                        "the server asks for an MD5 hash, which is not allowed: set the password again under \
                         password_encryption = 'scram-sha-256'",
                    ));
                }
                10 => self.begin(data, session, &mut answer)?,
                11 => {
                    let scram =
                        self.scram.as_mut().ok_or_else(|| Error::protocol("SASL that was not begun"))?;
                    scram.update(data).map_err(|e| refused("SCRAM failed").caused_by(e))?;
                    frontend::sasl_response(scram.message(), &mut answer).map_err(unsendable)?;
                }
                12 => {
                    let scram =
                        self.scram.as_mut().ok_or_else(|| Error::protocol("SASL that was not begun"))?;
                    scram.finish(data).map_err(|e| refused("the server's proof is wrong").caused_by(e))?;
                    self.proven = true;
                }
                other => return Err(refused(format!("the server asks for a proof of kind {other}"))),
            }
            if !answer.is_empty() {
                session.send(&answer).await?;
            }
        }
    }

    fn password(&self) -> Result<&[u8]> {
        let password = self.config.password.as_deref();
        password
            .map(str::as_bytes)
            .ok_or_else(|| refused("the server asks for a password, and there is none"))
    }

    /// SCRAM-SHA-256, tied to the connection where both sides can.
    fn begin(&mut self, mechanisms: &[u8], session: &Session, answer: &mut BytesMut) -> Result<()> {
        let offers = |name: &str| mechanisms.split(|byte| *byte == 0).any(|word| word == name.as_bytes());
        let end_point = session.socket.end_point();
        let (mechanism, binding) = match end_point {
            Some(hash) if offers(sasl::SCRAM_SHA_256_PLUS) => {
                (sasl::SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(hash))
            }
            // We could, and were not offered it: the server learns of it if somebody in between took the offer away.
            Some(_) => (sasl::SCRAM_SHA_256, ChannelBinding::unrequested()),
            None => (sasl::SCRAM_SHA_256, ChannelBinding::unsupported()),
        };
        if !offers(mechanism) {
            return Err(refused("the server offers no mechanism that is known"));
        }
        let scram = ScramSha256::new(self.password()?, binding);
        frontend::sasl_initial_response(mechanism, scram.message(), answer).map_err(unsendable)?;
        self.scram = Some(scram);
        Ok(())
    }
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Authentication, message)
}

pub(crate) fn unexpected(tag: u8, during: &str) -> Error {
    Error::protocol(format!("a message '{}' during {during}", tag.escape_ascii()))
}

pub(crate) fn unsendable(error: std::io::Error) -> Error {
    Error::protocol("this cannot be sent").caused_by(error)
}
