//! Attempts on the kernel: files, network, processes, memory, rights.

use crate::attempt::{Attempt, Outcome, OwnedSession};
use gatepost_sys::escape::{self, Mapping};
use gatepost_sys::process;
use std::hint::black_box;
use std::io;
use std::net::{SocketAddrV4, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{SocketAddr, UnixStream};

const MIB: usize = 1 << 20;
/// The texts to look for are masked with this, so that neither the order nor the search puts them into memory.
const MASK: u8 = 0xa5;

pub(crate) const ATTEMPTS: &[Attempt] = &[
    ("call", call),
    ("open a file as programs do", |_, _| std::fs::File::open("/etc/passwd").into()),
    ("list a directory as programs do", |_, _| std::fs::read_dir("/").into()),
    ("write a file as programs do", |_, _| std::fs::write("/escaped", b"x").into()),
    ("connect by TCP as programs do", |_, _| TcpStream::connect("127.0.0.1:25").into()),
    ("send by UDP as programs do", |_, _| UdpSocket::bind("0.0.0.0:0").into()),
    ("connect to a path as programs do", |_, _| UnixStream::connect("/backend0/smtp").into()),
    ("connect to an abstract name as programs do", abstract_name),
    ("resolve a name as programs do", |_, _| TcpStream::connect("localhost:25").into()),
    ("execute as programs do", |_, _| process_command().into()),
    ("fork as programs do", |_, _| process::fork().into()),
    ("make a thread as programs do", |_, _| make_thread().into()),
    ("abort as programs do", |_, _| std::process::abort()),
    ("connect elsewhere while sending", elsewhere),
    ("signals to a sister by the client's socket", |p, pid| signals(p.client.as_fd(), pid)),
    ("signals to a sister by the channel to handoff", |p, pid| signals(p.handoff.as_fd(), pid)),
    #[cfg(target_arch = "x86_64")]
    ("call as a 32-bit program", |_, _| Outcome::Says(format!("done {}", escape::call_as_32_bit_program()))),
    #[cfg(target_arch = "x86_64")]
    ("call by an x32 number", |_, _| escape::call_by_x32_number().into()),
    ("allocate 100 MB", |_, _| allocate(100 * MIB)),
    ("allocate bit by bit", bit_by_bit),
    ("raise the break by 100 MB", |_, _| escape::raise_break(100 * MIB).into()),
    ("map 100 MB", |_, _| escape::map(Mapping::Private, 100 * MIB).into()),
    ("map 100 MB shared", |_, _| escape::map(Mapping::Shared, 100 * MIB).into()),
    ("map 100 MB that grow down", |_, _| escape::map(Mapping::GrowingDown, 100 * MIB).into()),
    ("map 1 TB to look at", |_, _| escape::map(Mapping::ReadOnly, MIB * MIB).into()),
    ("use 100 MB of stack", |_, _| Outcome::Says(format!("done {}", dig(100 * MIB)))),
    ("map writable code", |_, _| escape::map(Mapping::Executable, 4096).into()),
    ("make what was written executable", |_, _| escape::make_executable().into()),
    ("write to every descriptor", write_everywhere),
    ("scan the memory", scan),
    ("stay", stay),
    ("become deaf to signals", |_, _| escape::block_signals().into()),
];

/// The table of calls that no session needs.
fn call(_: &mut OwnedSession, name: &str) -> Outcome {
    match escape::attempts().find(|attempt| attempt.name == name) {
        Some(attempt) => attempt.make().into(),
        None => Outcome::Says("no such call".to_owned()),
    }
}

fn abstract_name(_: &mut OwnedSession, _: &str) -> Outcome {
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name("gatepost").and_then(|address| UnixStream::connect_addr(&address)).into()
}

/// Runs a program.
pub(crate) fn process_command() -> io::Result<std::process::ExitStatus> {
    std::process::Command::new("/bin/true").status()
}

/// A thread that ends at once.
pub(crate) fn make_thread() -> io::Result<bool> {
    let thread = std::thread::Builder::new().stack_size(32 * 1024).spawn(|| ());
    thread.map(|thread| thread.join().is_ok())
}

fn elsewhere(session: &mut OwnedSession, address: &str) -> Outcome {
    let to: SocketAddrV4 = address.parse().expect("an address");
    escape::send_elsewhere(session.client.as_fd(), to).into()
}

fn signals(socket: std::os::fd::BorrowedFd<'_>, pid: &str) -> Outcome {
    const KILL: i32 = 9;
    escape::send_signals_by(socket, pid.parse().expect("a pid"), KILL).into()
}

fn allocate(octets: usize) -> Outcome {
    let mut all: Vec<u8> = Vec::new();
    match all.try_reserve_exact(octets) {
        Err(_) => Outcome::Refused(io::Error::from_raw_os_error(12)),
        Ok(()) => {
            all.resize(octets, 1);
            Outcome::Says(format!("done {}", black_box(all).len()))
        }
    }
}

/// How many KiB can be had in small pieces.
fn bit_by_bit(_: &mut OwnedSession, _: &str) -> Outcome {
    const PIECE: usize = 4096;
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut piece: Vec<u8> = Vec::new();
        if pieces.try_reserve(1).is_err() || piece.try_reserve_exact(PIECE).is_err() {
            break;
        }
        piece.resize(PIECE, 1);
        pieces.push(piece);
    }
    let kib = pieces.len() * PIECE / 1024;
    drop(pieces);
    Outcome::Says(kib.to_string())
}

/// Uses `octets` of stack, a frame at a time.
fn dig(octets: usize) -> usize {
    let mut frame = black_box([1_u8; 16 * 1024]);
    let deeper = if octets > frame.len() { dig(octets - frame.len()) } else { 0 };
    frame[0] = 2;
    black_box(&frame).len() + deeper
}

/// The descriptors that take an octet, our own three aside.
fn write_everywhere(session: &mut OwnedSession, _: &str) -> Outcome {
    let own = [session.client.as_raw_fd(), session.handoff.as_raw_fd(), session.keyholder.as_raw_fd()];
    let taken: Vec<String> = (0..1024)
        .filter(|fd| !own.contains(fd) && escape::write_to(*fd, b"x").is_ok())
        .map(|fd| fd.to_string())
        .collect();
    Outcome::Says(taken.join(" "))
}

/// Looks for texts, given masked and in hexadecimal, in all memory that can be read.
fn scan(_: &mut OwnedSession, needles: &str) -> Outcome {
    let needles: Vec<Vec<u8>> = needles.split(' ').map(unhex).collect();
    let longest = needles.iter().map(Vec::len).max().unwrap_or_default();
    let mut found = vec![false; needles.len()];
    let (mut before, mut expected) = (Vec::with_capacity(longest + 4096), 0);
    let scanned = escape::scan(|address, page| {
        if address != expected {
            before.clear();
        }
        before.extend_from_slice(page);
        for (found, needle) in found.iter_mut().zip(&needles) {
            *found |= before.windows(needle.len()).any(|seen| seen.iter().zip(needle).all(|(a, b)| a ^ MASK == *b));
        }
        let keep = before.len().min(longest - 1);
        before.drain(..before.len() - keep);
        expected = address + page.len();
    });
    match scanned {
        Ok(pages) if pages > 100 => {
            Outcome::Says(format!("found {} of {}", found.iter().filter(|found| **found).count(), found.len()))
        }
        Ok(pages) => Outcome::Says(format!("only {pages} pages could be read")),
        Err(e) => Outcome::Refused(e),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal")).collect()
}

/// Says that it stays, and does until the client goes.
fn stay(session: &mut OwnedSession, _: &str) -> Outcome {
    let said = io::Write::write_all(&mut session.client, b"stays\r\n");
    match said.and_then(|()| session.hear(&mut [0; 64])) {
        Ok(_) => Outcome::Says("went".to_owned()),
        Err(e) => Outcome::Refused(e),
    }
}
