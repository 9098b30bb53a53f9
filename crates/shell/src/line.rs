//! The client's octets, in clear or in TLS. Waits for nothing: see [`crate::Shell`].

use crate::ends::Ends;
use gatepost_smtp::envelope::Tls as Negotiated;
use gatepost_tls::{ServerConfig, ServerConnection};
use std::io::{self, Read, Write};
use std::sync::Arc;
use zeroize::Zeroize as _;

/// Code point of the version.
const TLS_1_3: u16 = 0x0304;

/// Room for one read of a client that sends commands.
const FIRST_READ: usize = 4 * 1024;
/// Room for one read of a client that sends more: it grows to this, each time that it was full.
const LARGEST_READ: usize = 64 * 1024;

/// A line to the client.
#[derive(Debug)]
pub(crate) struct Line {
    ends: Ends,
    transport: Transport,
    /// The last read filled its room: there is more, probably.
    more: bool,
}

#[derive(Debug)]
enum Transport {
    Clear(Buffer),
    Tls(Box<ServerConnection>),
}

/// What was read and not yet consumed.
#[derive(Debug, Default)]
struct Buffer {
    octets: Vec<u8>,
    /// So many of them are consumed.
    start: usize,
    /// So many are read at once.
    most: usize,
}

/// The next octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filled {
    /// So many can be taken by [`Line::input`].
    Octets(usize),
    /// None yet: wait for the client.
    Nothing,
    /// The client has ended its half, or TLS was cut off: nothing more will come.
    End,
}

impl Line {
    pub(crate) fn new(ends: Ends) -> Self {
        Self { ends, transport: Transport::Clear(Buffer::default()), more: false }
    }

    pub(crate) fn ends(&self) -> &Ends {
        &self.ends
    }

    /// Octets that were read; in TLS perhaps not all of them, but none only when there are none.
    pub(crate) fn input(&mut self) -> &[u8] {
        match &mut self.transport {
            Transport::Clear(buffer) => buffer.octets.get(buffer.start..).unwrap_or_default(),
            Transport::Tls(tls) => tls.reader().into_first_chunk().unwrap_or_default(),
        }
    }

    /// The first `octets` of the input are done with.
    pub(crate) fn consume(&mut self, octets: usize) {
        match &mut self.transport {
            Transport::Clear(buffer) => buffer.start = buffer.start.saturating_add(octets).min(buffer.octets.len()),
            Transport::Tls(tls) => io::BufRead::consume(&mut tls.reader(), octets),
        }
    }

    /// Forgets what was read in clear: it must not be taken for what comes in TLS (RFC 3207 §4.2).
    pub(crate) fn forget_clear(&mut self) {
        if let Transport::Clear(buffer) = &mut self.transport {
            buffer.forget();
        }
    }

    /// Overwrites what was consumed, since some of it was secret. All input must have been consumed.
    pub(crate) fn wipe(&mut self) {
        match &mut self.transport {
            // All of its room, what was there before included.
            Transport::Clear(buffer) => {
                buffer.octets.zeroize();
                buffer.start = 0;
            }
            // It decrypts in the room for what it reads, and offers that to the next read.
            Transport::Tls(tls) => drop(tls.read_tls(&mut Wiper)),
        }
    }

    /// Whether a read now will give something, probably, and will not block.
    pub(crate) fn has_more(&self) -> bool {
        self.more && !self.ends.blocks()
    }

    /// Reads once. All input must have been consumed.
    ///
    /// # Errors
    /// The system's, or what the client sent is no TLS; then an alert may be owed to it.
    pub(crate) fn fill(&mut self) -> io::Result<Filled> {
        let mut ends = &self.ends;
        match &mut self.transport {
            Transport::Clear(buffer) => {
                buffer.make_room(self.more);
                let read = ends.read_into(&mut buffer.octets, buffer.most);
                self.more = read.as_ref().is_ok_and(|octets| *octets == buffer.most);
                Ok(match taken(read)? {
                    None => Filled::Nothing,
                    Some(0) => Filled::End,
                    Some(octets) => Filled::Octets(octets),
                })
            }
            Transport::Tls(tls) => {
                let read = tls.read_tls(&mut ends);
                // How much room there was only rustls knows; a read that finds nothing costs one call.
                self.more = read.as_ref().is_ok_and(|octets| *octets >= FIRST_READ);
                match taken(read)? {
                    None => return Ok(Filled::Nothing),
                    Some(0) => return Ok(Filled::End),
                    Some(_) => {}
                }
                let state = tls.process_new_packets().map_err(io::Error::other)?;
                Ok(match state.plaintext_bytes_to_read() {
                    0 if state.peer_has_closed() => Filled::End,
                    0 => Filled::Nothing,
                    octets => Filled::Octets(octets),
                })
            }
        }
    }

    /// Something of TLS's own, or of what [`Line::write`] took, is still to be sent: write again, if only nothing.
    pub(crate) fn owes(&self) -> bool {
        match &self.transport {
            Transport::Clear(_) => false,
            Transport::Tls(tls) => tls.wants_write(),
        }
    }

    /// Writes once; takes as many of `octets` as this says.
    ///
    /// # Errors
    /// WouldBlock and Interrupted: nothing was taken. Else the client is gone.
    pub(crate) fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let mut ends = &self.ends;
        let (taken, sent) = match &mut self.transport {
            Transport::Clear(_) => {
                let sent = ends.write(octets)?;
                (sent, sent)
            }
            Transport::Tls(tls) => {
                // One flight after the other: what TLS holds is bounded by what was given at once.
                let taken = if tls.wants_write() { 0 } else { tls.writer().write(octets)? };
                match tls.write_tls(&mut ends) {
                    Err(e) if taken > 0 && is_transient(&e) => return Ok(taken),
                    sent => (taken, sent?),
                }
            }
        };
        if sent == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(taken) }
    }

    /// TLS from here on: [`Line::fill`] and [`Line::write`] until it is no longer [`Line::is_handshaking`].
    ///
    /// # Errors
    /// The configuration makes no server, or there is TLS already.
    pub(crate) fn start_tls(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        if matches!(self.transport, Transport::Tls(_)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.transport = Transport::Tls(Box::new(ServerConnection::new(config).map_err(io::Error::other)?));
        self.more = false;
        Ok(())
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        matches!(&self.transport, Transport::Tls(tls) if tls.is_handshaking())
    }

    /// Code points of protocol version and cipher suite, 0 where there is none.
    pub(crate) fn negotiated(&self) -> Negotiated {
        let Transport::Tls(tls) = &self.transport else { return Negotiated { version: 0, suite: 0 } };
        let version = tls.protocol_version().map(u16::from).unwrap_or_default();
        let suite = tls.negotiated_cipher_suite().map(|s| u16::from(s.suite())).unwrap_or_default();
        Negotiated { version, suite }
    }

    /// See [`crate::Shell::binding`].
    pub(crate) fn binding(&self) -> Option<[u8; 32]> {
        let Transport::Tls(tls) = &self.transport else { return None };
        let has_it = tls.protocol_version().map(u16::from) == Some(TLS_1_3);
        has_it.then(|| tls.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None).ok()).flatten()
    }

    /// TLS from here on, spoken by somebody else behind these ends.
    pub(crate) fn move_to(&mut self, ends: Ends) {
        *self = Self::new(ends);
    }

    /// Our last octets are written: in TLS, a close_notify is owed.
    pub(crate) fn finish(&mut self) {
        if let Transport::Tls(tls) = &mut self.transport {
            tls.send_close_notify();
        }
    }
}

/// Nothing to read yet, and room for it that is overwritten.
struct Wiper;

impl Read for Wiper {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        room.zeroize();
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Buffer {
    fn forget(&mut self) {
        self.octets.clear();
        self.start = 0;
    }

    fn make_room(&mut self, was_full: bool) {
        self.forget();
        if self.most == 0 {
            self.most = FIRST_READ;
        } else if was_full && self.most < LARGEST_READ {
            // The old room is given back first.
            self.octets = Vec::new();
            self.most = self.most.saturating_mul(4).min(LARGEST_READ);
        }
    }
}

/// WouldBlock and Interrupted mean: wait again.
pub(crate) fn is_transient(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Octets read; None: nothing yet.
fn taken(read: io::Result<usize>) -> io::Result<Option<usize>> {
    match read {
        Err(e) if is_transient(&e) => Ok(None),
        read => read.map(Some),
    }
}
