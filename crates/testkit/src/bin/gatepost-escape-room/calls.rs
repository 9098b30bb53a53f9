//! Every line of every system call list lets its call through, and whatever no line names ends the process: tried for each
//! number that a system call can have, under each role's own filter, in a process made for it.

use gatepost_jail::calls::{Call, FORK};
use gatepost_jail::profile::{self, ALONE_CALLS};
use gatepost_sys::escape::{self, SIGSYS};
use gatepost_sys::filter::{Filter, When};
use gatepost_sys::process::End;
use std::collections::BTreeSet;
use std::process::ExitCode;

/// Beyond the last number in use, so that calls of the future are held too.
const NUMBERS: i64 = 700;
/// Where the x32 table of x86_64 begins.
const X32: i64 = 0x4000_0000;
/// uretprobe and uprobe of x86_64, which newer kernels permit whatever a filter says. They belong to the kernel's own probes; called
/// from anywhere but the page that the kernel maps for those, they fail or kill.
const KERNELS_OWN: [i64; 2] = if cfg!(target_arch = "x86_64") { [335, 336] } else { [-1, -1] };
/// An argument that no line permits.
const NO_VALUE: i64 = 0x7f00_00f0;

const PROT_EXEC: i64 = 4;
/// What mmap(2) may be told: MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_NORESERVE, MAP_STACK, MAP_FIXED_NOREPLACE.
const MAPPING: i64 = 0x2 | 0x10 | 0x20 | 0x4000 | 0x2_0000 | 0x10_0000;

/// A jail's filters, and the lines that should hold in it.
struct Jail {
    name: &'static str,
    filters: Vec<Filter>,
    lines: Vec<&'static Call>,
}

fn jails() -> Vec<Jail> {
    let mut all = Vec::new();
    // The roles without a filter run what needs the system.
    for profile in profile::all().filter(|profile| !profile.calls.is_empty()) {
        let filter = profile.filter().expect("a filter");
        if profile.forks {
            let seal = Filter::withdraw(FORK.iter().map(|call| call.name)).expect("a filter");
            let kept = |call: &&Call| !FORK.iter().any(|forbidden| forbidden.name == call.name);
            let lines = profile.all_calls().filter(kept).collect();
            all.push(Jail { name: "session", filters: vec![filter.clone(), seal], lines });
        }
        all.push(Jail { name: profile.role.name(), filters: vec![filter], lines: profile.all_calls().collect() });
    }
    let alone = ALONE_CALLS.iter().flat_map(|table| table.iter());
    let filter = Filter::allow(alone.clone().map(|call| (call.name, call.when))).expect("a filter");
    all.push(Jail { name: "session that is alone", filters: vec![filter], lines: alone.collect() });
    all
}

impl Jail {
    fn fate(&self, number: i64, args: [i64; 6]) -> End {
        let filters: Vec<&Filter> = self.filters.iter().collect();
        escape::fate(&filters, number, args).expect("a process to throw away")
    }

    /// What should be let through and is not.
    fn check_lines(&self, wrong: &mut Vec<String>) -> usize {
        let mut tried = 0;
        for call in &self.lines {
            let Some(number) = escape::number(call.name).expect("a name") else { continue };
            tried += 1;
            let end = self.fate(number, escape::harmless(call.name, call.when));
            if end == End::Signal(SIGSYS) {
                wrong.push(format!("{}: {} is listed ({:?}) and kills", self.name, call.name, call.when));
            }
        }
        tried
    }

    /// What no line names and does not kill.
    fn check_others(&self, wrong: &mut Vec<String>) -> usize {
        let number_of = |call: &&Call| escape::number(call.name).expect("a name");
        let listed: BTreeSet<i64> = self.lines.iter().filter_map(number_of).collect();
        let x32 = if cfg!(target_arch = "x86_64") { X32..X32 + 20 } else { 0..0 };
        let unlisted = (0..NUMBERS).filter(|number| !listed.contains(number) && !KERNELS_OWN.contains(number));
        let others: Vec<i64> = unlisted.chain(x32).collect();
        for number in &others {
            let end = self.fate(*number, [0; 6]);
            if end != End::Signal(SIGSYS) {
                wrong.push(format!("{}: system call {number} is not listed, and ends by {end:?}", self.name));
            }
        }
        others.len()
    }

    /// Uses of conditional lines that their condition excludes, and that do not kill.
    fn check_conditions(&self, wrong: &mut Vec<String>) -> usize {
        let mut tried = 0;
        for call in &self.lines {
            let Some(number) = escape::number(call.name).expect("a name") else { continue };
            let same = |other: &&&Call| other.name == call.name;
            for args in excluded(call) {
                if self.lines.iter().filter(same).any(|line| permits(line.when, &args)) {
                    continue;
                }
                tried += 1;
                let end = self.fate(number, args);
                if end != End::Signal(SIGSYS) {
                    wrong.push(format!("{}: {} with {args:?} ends by {end:?}", self.name, call.name));
                }
            }
        }
        tried
    }
}

/// Whether a line permits a call with these arguments, of which a filter sees the lower four octets.
fn permits(when: When, args: &[i64; 6]) -> bool {
    let lower = |index: usize| args[index] & 0xffff_ffff;
    match when {
        When::Always => true,
        When::NotExecutable => lower(2) & PROT_EXEC == 0,
        When::PrivateNotExecutable => lower(2) & PROT_EXEC == 0 && lower(3) & !MAPPING == 0,
        When::Args(values) => {
            values.iter().all(|(index, value)| i64::try_from(*value) == Ok(lower(usize::from(*index))))
        }
    }
}

/// Uses next to those that a line permits: each argument that it looks at with each bit turned, with none and with all.
fn excluded(call: &Call) -> Vec<[i64; 6]> {
    let good = escape::harmless(call.name, call.when);
    let looked_at: Vec<usize> = match call.when {
        When::Always => Vec::new(),
        When::NotExecutable => vec![2],
        When::PrivateNotExecutable => vec![2, 3],
        When::Args(values) => values.iter().map(|(index, _)| usize::from(*index)).collect(),
    };
    let mut all = Vec::new();
    for index in looked_at {
        let turned = (0..32).map(|bit| good[index] ^ (1 << bit));
        for value in turned.chain([0, 0xffff_ffff, NO_VALUE]) {
            let mut args = good;
            args[index] = value;
            all.push(args);
        }
    }
    all.retain(|args| !permits(call.when, args));
    all
}

/// Checks all of it, says what is wrong, and how much was tried.
pub(crate) fn check() -> ExitCode {
    let mut wrong = Vec::new();
    for jail in jails() {
        let lines = jail.check_lines(&mut wrong);
        let others = jail.check_others(&mut wrong);
        let conditions = jail.check_conditions(&mut wrong);
        println!("{}: {lines} let through, {others} others and {conditions} excluded uses kill", jail.name);
    }
    for line in &wrong {
        println!("WRONG {line}");
    }
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
