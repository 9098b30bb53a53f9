//! What a launcher hands to the one that takes its place in the same process when another program file is there: descriptors that
//! stay open across execve(2), by their numbers, and what is known of the processes behind them. Written and read by root alone, in
//! sealed memory.

use crate::codec::{Coding, Reader, Value, WireError, read_all};
use crate::control::Role;
use crate::declare::{codes, fields};
use crate::slice::Connect;
use gatepost_smtp::enumeration;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Format of [`State`]. With another number everything after it may differ.
pub const VERSION: u8 = 1;

enumeration! {
    /// How far a role has come.
    pub enum Phase {
        /// Nothing heard yet.
        Started,
        /// Jailed, seen from outside, linked, told to go.
        Going,
        /// Serving, by temporary refusals alone: the backend has not passed its proof.
        Waiting,
        /// Serving.
        Ready,
    }

    /// What is to become of a generation.
    pub enum Course {
        /// It takes clients.
        Serving,
        /// Its sessions go on to their own end.
        Retiring,
        /// Its sessions are told to end.
        Draining,
    }
}

codes! { Course Phase }

fields! {
    /// Everything that the next launcher has to know.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct State {
        /// Generations, the oldest first; the last one serves.
        pub generations: Vec<Generation>,
        /// The sockets of the counters.
        pub views: Vec<View>,
        /// Where admins ask.
        pub control: Option<Control>,
        /// The channel by which the launcher logs.
        pub log: Option<u32>,
        /// The log opened anew, with more privilege than is left.
        pub spare_log: u32,
        /// Connections of admins who wait to hear what came of the reload.
        pub asked: Vec<u32>,
    }

    /// A generation of roles.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Generation {
        /// What is to become of it.
        pub course: Course,
        /// A name server answers, as far as is known.
        pub names: bool,
        /// Seconds that its sessions have when all is to end.
        pub drain: u32,
        /// The lock on the spool, where there is one.
        pub lock: Option<u32>,
        /// Its listening sockets.
        pub sockets: Vec<Socket>,
        /// Its processes.
        pub children: Vec<Child>,
    }

    /// A listening socket.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Socket {
        /// Its address as the configuration has it.
        pub address: SocketAddr,
        /// It takes IPv6 alone.
        pub v6only: bool,
        /// Somebody else opened it, and keeps it open.
        pub inherited: bool,
        /// The socket.
        pub fd: u32,
    }

    /// A role's process.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Child {
        /// Its role.
        pub role: Role as Named,
        /// Its id.
        pub pid: u32,
        /// How far it has come.
        pub phase: Phase,
        /// The launcher's end of their channel, while there is one.
        pub control: Option<u32>,
        /// It was asked whether it is alive, and has not answered.
        pub asked: bool,
        /// A nursery that has been replaced.
        pub retired: bool,
    }

    /// A socket where the counters are read, or where programs of this machine submit mail.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct View {
        /// Where it is bound.
        pub place: Connect,
        /// Who accepts from it.
        pub role: Role,
        /// The socket.
        pub fd: u32,
    }

    /// The socket where admins ask.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Control {
        /// Its path.
        pub path: PathBuf,
        /// The socket.
        pub fd: u32,
    }
}

/// By its name: a role's place in the list of roles changes when there is another role.
#[derive(Debug)]
pub enum Named {}

impl Coding<'_, Role> for Named {
    const MAX: usize = usize::MAX;
    fn write(value: &Role, out: &mut Vec<u8>, field: &'static str) -> Result<(), WireError> {
        value.name().to_owned().write(out, field)
    }
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Role, WireError> {
        Role::named(&String::read(r, field)?).ok_or(WireError::Value(field))
    }
}

impl State {
    /// With the version of the format before it, and that of the messages to roles.
    ///
    /// # Errors
    /// [`WireError::Long`] for a list or text of more than 4 GiB.
    pub fn to_octets(&self) -> Result<Vec<u8>, WireError> {
        let mut octets = vec![VERSION, crate::VERSION];
        self.write(&mut octets, "state")?;
        Ok(octets)
    }

    /// From all of `octets`.
    ///
    /// # Errors
    /// [`WireError::Version`] when another version wrote them; otherwise a damage.
    pub fn from_octets(octets: &[u8]) -> Result<Self, WireError> {
        match octets.split_first_chunk() {
            Some(([VERSION, crate::VERSION], state)) => read_all(state),
            _ => Err(WireError::Version),
        }
    }

    /// Every descriptor that is to stay open.
    pub fn descriptors(&self) -> impl Iterator<Item = u32> {
        let generations = self.generations.iter().flat_map(|generation| {
            let sockets = generation.sockets.iter().map(|socket| socket.fd);
            sockets.chain(generation.children.iter().filter_map(|child| child.control)).chain(generation.lock)
        });
        let views = self.views.iter().map(|view| view.fd);
        let rest = self.control.iter().map(|control| control.fd).chain(self.log).chain([self.spare_log]);
        generations.chain(views).chain(rest).chain(self.asked.iter().copied())
    }
}
