#![no_main]
//! Any octets as `resolv.conf` and as a hosts file: bounded, and never without a server.

use gatepost_config::host_files::{HOSTS_MAX, SERVERS_MAX, hosts, name_servers};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    assert!((1..=SERVERS_MAX).contains(&name_servers(file).len()));
    let entries = hosts(file);
    assert!(entries.len() <= HOSTS_MAX.0);
    assert!(entries.iter().all(|entry| (1..=HOSTS_MAX.1).contains(&entry.names.len())));
});
