//! The floor of a process for each client: accepts, forks, speaks, discards. No jail, no check, no log, no MTA behind it.
#![forbid(unsafe_code)]

use gatepost_sys::process::{self, Fork};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;

fn main() -> ExitCode {
    let address = std::env::args().nth(1).unwrap_or_default();
    match TcpListener::bind(&address).and_then(|listener| serve(&listener)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bare: {address}: {e}");
            ExitCode::FAILURE
        }
    }
}

fn serve(listener: &TcpListener) -> io::Result<()> {
    loop {
        let (client, _) = listener.accept()?;
        if process::fork()? == Fork::Child {
            process::exit(u8::from(talk(client).is_err()));
        }
        drop(client);
        while process::reap()?.is_some() {}
    }
}

fn talk(client: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let (mut input, mut output) = (BufReader::new(&client), &client);
    output.write_all(b"220 bare ESMTP\r\n")?;
    let mut line = String::new();
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let reply: &[u8] = match line.get(..4).unwrap_or_default() {
            "EHLO" => b"250-bare\r\n250 8BITMIME\r\n",
            "DATA" => b"354 go on\r\n",
            "QUIT" => b"221 bye\r\n",
            _ => b"250 ok\r\n",
        };
        output.write_all(reply)?;
        if line.starts_with("QUIT") {
            return Ok(());
        }
        if line.starts_with("DATA") {
            discard(&mut input)?;
            output.write_all(b"250 ok\r\n")?;
        }
    }
}

/// Reads to the end of content.
fn discard(input: &mut impl Read) -> io::Result<()> {
    const END: &[u8] = b"\r\n.\r\n";
    let mut octets = vec![0; 64 * 1024];
    let mut kept = 0;
    loop {
        let room = octets.get_mut(kept..).unwrap_or_default();
        let end = kept + input.read(room)?;
        let seen = octets.get(..end).unwrap_or_default();
        if end == kept || seen.ends_with(END) {
            return Ok(());
        }
        // Where the end may have begun.
        let last = end.saturating_sub(END.len());
        octets.copy_within(last..end, 0);
        kept = end - last;
    }
}
