//! Whether an address can be listened on, and who listens there when it cannot.

use crate::error::LauncherError;
use crate::findings::{Fitness, Level};
use gatepost_config::Listen;
use gatepost_jail::audit;
use gatepost_sys::{as_owner, net, process};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// The state of a listening socket in /proc/net/tcp, which is `TCP_LISTEN` of the kernel.
const LISTENING: &str = "0A";

impl Fitness {
    /// Tries to bind it, without listening. A start finds out by itself; this is for `gatepost check`.
    pub(super) fn look_at_address(&mut self, listen: &Listen) {
        let (level, text) = match net::can_bind(listen.address, listen.v6only) {
            Ok(()) => (Level::Good, "free".to_owned()),
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => in_use(listen),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => (
                Level::Look,
                format!("this user may not listen there ({e}): root may, or the socket is inherited from systemd"),
            ),
            Err(e) => (Level::Fault, LauncherError::Bind(listen.address, e).to_string()),
        };
        self.add(format!("address {}", listen.address), level, text);
    }
}

/// A process, and what it calls itself.
struct Holder {
    pid: u32,
    name: String,
}

fn in_use(listen: &Listen) -> (Level, String) {
    let holders = holders(listen.address);
    let ours = audit::find_gatepost().unwrap_or_default();
    if let Some(own) = holders.iter().find(|holder| ours.contains(&holder.pid)) {
        return (Level::Good, format!("held by the gatepost that runs now (process {})", own.pid));
    }
    match holders.iter().find(|holder| holder.pid != 1) {
        Some(other) => (
            Level::Fault,
            format!(
                "held by {} (process {}): stop it or let it listen elsewhere, or write another address in [[listen]]",
                other.name, other.pid
            ),
        ),
        None if !holders.is_empty() => {
            (Level::Good, "held by systemd for a socket unit, to be inherited at the start".to_owned())
        }
        None if process::effective_ids().0 == 0 => {
            (Level::Fault, LauncherError::Bind(listen.address, io::ErrorKind::AddrInUse.into()).to_string())
        }
        None => (Level::Look, "in use, by a program that only root can see: run check as root".to_owned()),
    }
}

/// Who holds a listening socket that hears what is sent to `address`, or to a part of it.
fn holders(address: SocketAddr) -> Vec<Holder> {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(std::fs::read_to_string);
    let rows = tables.iter().flatten().flat_map(|table| table.lines().skip(1)).filter_map(listening);
    let inodes: Vec<String> = rows
        .filter(|(other, _)| other.port() == address.port() && meet(other.ip(), address.ip()))
        .map(|(_, inode)| format!("socket:[{inode}]"))
        .collect();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    pids.filter(|pid| has_one_of(*pid, &inodes)).map(|pid| Holder { pid, name: name_of(pid) }).collect()
}

fn meet(one: IpAddr, other: IpAddr) -> bool {
    one == other || one.is_unspecified() || other.is_unspecified()
}

fn has_one_of(pid: u32, inodes: &[String]) -> bool {
    let has = as_owner::reach(Path::new(&format!("/proc/{pid}/fd")), |directory| {
        let mut links = std::fs::read_dir(directory)?.flatten().map(|entry| std::fs::read_link(entry.path()));
        Ok(links.any(|link| link.is_ok_and(|link| inodes.iter().any(|inode| link.as_os_str() == inode.as_str()))))
    });
    has.unwrap_or_default()
}

/// What a process calls itself is its own choice: nothing that it could do to a terminal.
fn name_of(pid: u32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().escape_default().to_string()
}

/// Address and inode of a row of /proc/net/tcp or tcp6 (proc_net_tcp(5)), if the socket listens.
fn listening(row: &str) -> Option<(SocketAddr, u64)> {
    let fields: Vec<&str> = row.split_whitespace().collect();
    let [_, local, _, state, _, _, _, _, _, inode, ..] = fields.as_slice() else { return None };
    if *state != LISTENING {
        return None;
    }
    let (ip, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // Groups of 32 bits, each as this machine has it in memory.
    let mut octets = Vec::new();
    for at in (0..ip.len()).step_by(8) {
        let group = ip.get(at..at.checked_add(8)?)?;
        octets.extend(u32::from_str_radix(group, 16).ok()?.to_ne_bytes());
    }
    let ip = match octets.as_slice() {
        v4 if v4.len() == 4 => IpAddr::from(<[u8; 4]>::try_from(v4).map(Ipv4Addr::from).ok()?),
        v6 => IpAddr::from(<[u8; 16]>::try_from(v6).map(Ipv6Addr::from).ok()?),
    };
    Some((SocketAddr::new(ip.to_canonical(), port), inode.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_wire::slice::TlsMode;

    #[test]
    fn issue_10_the_kernel_s_table_is_read() {
        let v4 = "   0: 0100007F:0019 00000000:0000 0A 00000000:00000000 00:00000000 00000000   102        0 21337 1 0 100 0 0 10 0";
        let v6 = "   1: 00000000000000000000000001000000:0019 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 21338 1";
        for (row, address, inode) in [(v4, "127.0.0.1:25", 21337), (v6, "[::1]:25", 21338)] {
            let expected =
                if cfg!(target_endian = "little") { Some((address.parse().unwrap(), inode)) } else { listening(row) };
            assert_eq!(listening(row), expected);
        }
        assert_eq!(listening(&v4.replace(" 0A ", " 01 ")), None);
        for broken in ["", "0: 01:19 x 0A", "0: 0100007F:0019 0 0A 0 0 0 0 0 x", "0: zz00007F:0019 0 0A 0 0 0 0 0 7"] {
            assert_eq!(listening(broken), None, "{broken}");
        }
    }

    #[test]
    fn issue_10_an_address_that_another_program_holds_is_a_fault_that_names_it() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let (level, text) = in_use(&Listen { address, v6only: false, tls: TlsMode::Off, ..Listen::default() });
        assert!(level == Level::Fault && text.contains(&format!("process {}", std::process::id())), "{text}");
    }

    #[test]
    fn issue_10_an_address_of_another_machine_is_a_fault() {
        let mut fitness = Fitness::unseen();
        let listen = |text: &str| Listen {
            address: text.parse().unwrap(),
            v6only: false,
            tls: TlsMode::Off,
            ..Listen::default()
        };
        fitness.look_at_address(&listen("192.0.2.77:2525"));
        fitness.look_at_address(&listen("127.0.0.1:0"));
        let levels: Vec<Level> = fitness.findings.iter().map(|f| f.level).collect();
        assert_eq!(levels, [Level::Fault, Level::Good], "{:?}", fitness.findings);
        assert!(fitness.findings[0].text.contains("no address of this machine"), "{:?}", fitness.findings);
    }
}
