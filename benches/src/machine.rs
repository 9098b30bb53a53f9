//! On which machine, when, and how busy it was.

use std::fs;
use std::process::Command;

/// Says all of it.
pub(crate) fn print() {
    let date = Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]).output();
    let date = date.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned()).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let count = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    println!(
        "{date}; {count} x {}; Linux {}",
        model.trim_start_matches(['\t', ':', ' ']),
        read("/proc/sys/kernel/osrelease").trim()
    );
    let huge = read("/sys/kernel/mm/transparent_hugepage/enabled");
    println!("transparent huge pages: {}", huge.trim());
    print_load();
}

/// Says how many processes were running or waiting, on the average of one, five and fifteen minutes.
pub(crate) fn print_load() {
    println!("load: {}", read("/proc/loadavg").trim());
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
