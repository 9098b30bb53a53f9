//! The audit as a table for people and as JSON for programs.

use super::judge::{Finding, Row, Standing, capability_names, show_limit};
use super::parse::{Kind, Ns, Resource};
use super::{Facts, RoleName};
use gatepost_wire::control::Role;
use gatepost_wire::slice::Ground;
use std::fmt::Write as _;

/// A column: its heading and what stands in it.
struct Column {
    heading: &'static str,
    cell: fn(&Row) -> String,
}

const COLUMNS: &[Column] = &[
    Column { heading: "PID", cell: |row| row.facts.pid.to_string() },
    Column { heading: "ROLE", cell: |row| role(&row.facts) },
    Column { heading: "UID", cell: |row| row.facts.uid().to_string() },
    Column { heading: "CAPS", cell: |row| count_capabilities(row.facts.status.capabilities.union()) },
    Column { heading: "NNP", cell: |row| u8::from(row.facts.status.no_new_privs).to_string() },
    Column { heading: "SECCOMP", cell: |row| row.facts.status.seccomp.mode.to_string() },
    Column { heading: "THREADS", cell: |row| row.facts.status.threads.to_string() },
    Column { heading: "ROOT", cell: |row| root(&row.facts) },
    Column { heading: "NAMESPACES", cell: |row| namespaces(&row.facts) },
    Column { heading: "NETWORK", cell: |row| network(&row.facts) },
    Column { heading: "DATA", cell: |row| limit(&row.facts, Resource::Data) },
    Column { heading: "NOFILE", cell: |row| limit(&row.facts, Resource::OpenFiles) },
    Column { heading: "NPROC", cell: |row| limit(&row.facts, Resource::Processes) },
    Column { heading: "FSIZE", cell: |row| limit(&row.facts, Resource::FileSize) },
    Column { heading: "FDS", cell: |row| shown(row.facts.descriptors.as_ref().map(|all| all.total())) },
    Column { heading: "DUMPABLE", cell: |row| shown(row.facts.dumpable.map(yes_no)) },
    Column { heading: "W+X", cell: |row| shown(row.facts.writable_code) },
    Column { heading: "VERDICT", cell: verdict },
];

/// The audit as text: a row a process, then what was found about each, then what is to be known of all. `?` stands for
/// what the reader may not see.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut lines = vec![COLUMNS.iter().map(|column| column.heading.to_owned()).collect::<Vec<_>>()];
    lines.extend(rows.iter().map(|row| COLUMNS.iter().map(|column| printable(&(column.cell)(row))).collect()));
    let mut text = String::new();
    let widths: Vec<usize> = (0..COLUMNS.len())
        .map(|i| lines.iter().filter_map(|line| line.get(i)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    for line in &lines {
        let mut padded = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(padded, "{cell:<width$}  ");
        }
        text.push_str(padded.trim_end());
        text.push('\n');
    }
    for row in rows.iter().filter(|row| !row.findings.is_empty()) {
        let _ = writeln!(text, "\n{} {}:", row.facts.pid, printable(&title(row)));
        for finding in &row.findings {
            let _ = writeln!(text, "  {}", printable(&finding.to_string()));
        }
    }
    notes(rows, &mut text);
    text
}

fn title(row: &Row) -> String {
    match row.standing() {
        Standing::Beside => format!("{}, no profile of its own: held beside session", role(&row.facts)),
        Standing::Passes | Standing::Weak | Standing::Program => role(&row.facts),
    }
}

fn notes(rows: &[Row], text: &mut String) {
    if rows.iter().any(|row| row.facts.role.is_some() && row.facts.ground() == Ground::User) {
        text.push_str(
            "\nStarted without root: all roles share one user, which keeps its groups, and live in user namespaces.\n",
        );
    }
    if rows.iter().any(|row| row.facts.role == Some(RoleName::Role(Role::Queue))) {
        text.push_str(
            "\nThe queue role is unconfined by design: it runs the queue program, which needs the system. It has no system call\n\
             filter, no root of its own and no namespaces; it has users of its own, no capability, no_new_privs and limits.\n",
        );
    }
    if rows.iter().any(|row| row.facts.role == Some(RoleName::Role(Role::Checker))) {
        text.push_str(
            "\nThe checker is unconfined by design: it runs the checkpassword program, which needs the system. It has no system call\n\
             filter, no root of its own and no namespaces; it has a user of its own, no capability, no_new_privs and limits.\n",
        );
    }
    if rows.iter().any(|row| row.facts.role == Some(RoleName::Runner)) {
        text.push_str(
            "\nTcpserver executes programs that need the system, so it has no jail: it is what -u and -g, or --user, leave of it. Its\n\
             programs are yours, and are not judged.\n",
        );
    }
    if rows.iter().any(|row| row.facts.root.is_none() || row.facts.namespaces.is_none()) {
        text.push_str("\nWhat shows as ? or is not shown by /proc can be seen by root.\n");
    }
    let weak = rows.iter().filter(|row| row.standing() == Standing::Weak).count();
    let ours = rows.iter().filter(|row| !matches!(row.standing(), Standing::Beside | Standing::Program)).count();
    let _ = match (ours, weak) {
        (0, _) => writeln!(text, "\nNo gatepost process among {}.", rows.len()),
        (_, 0) => writeln!(text, "\nAll {ours} gatepost processes are confined as their profiles say."),
        _ => writeln!(text, "\n{weak} of {ours} gatepost processes are weaker than their profiles say."),
    };
}

/// Control characters replaced by `?`: the name of a foreign process must not control the reader's terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn shown<T: ToString>(fact: Option<T>) -> String {
    fact.map_or("?".into(), |fact| fact.to_string())
}

fn yes_no(fact: bool) -> &'static str {
    if fact { "yes" } else { "no" }
}

fn role(facts: &Facts) -> String {
    facts.role.map_or_else(|| format!("({})", facts.status.name), |role| role.name().to_owned())
}

fn count_capabilities(set: u64) -> String {
    if set == 0 { "none".into() } else { set.count_ones().to_string() }
}

fn root(facts: &Facts) -> String {
    let access = match facts.mounts.and_then(|mounts| mounts.root_read_only) {
        Some(true) => " ro",
        _ => "",
    };
    match &facts.root {
        None => "?".into(),
        Some(root) if root.count == 0 => format!("empty{access}"),
        Some(root) if root.count <= 4 => format!("{}{access}", root.names.join(",")),
        Some(root) => format!("{} names{access}", root.count),
    }
}

fn namespaces(facts: &Facts) -> String {
    match &facts.namespaces {
        None => "?".into(),
        Some(all) => {
            let own: Vec<&str> = all.iter().filter(|ns| ns.own).map(|ns| ns.kind.name()).collect();
            if own.is_empty() { "-".into() } else { own.join(",") }
        }
    }
}

fn network(facts: &Facts) -> String {
    match (facts.without_network(), &facts.network) {
        (Some(true), _) => "none".into(),
        (_, Some(network)) => network.interfaces.join(","),
        (_, None) => "?".into(),
    }
}

fn limit(facts: &Facts, resource: Resource) -> String {
    show_limit(facts.limits.get(resource)).replace("unlimited", "-")
}

fn verdict(row: &Row) -> String {
    match row.standing() {
        Standing::Passes if is_open(row) => "ok, open by design".into(),
        Standing::Passes => "ok".into(),
        Standing::Weak => format!("WEAK ({})", row.findings.len()),
        Standing::Beside => format!("{} weaker than session", row.findings.len()),
        Standing::Program => "a program of yours".into(),
    }
}

/// It has no jail by design: it runs programs that need the system.
fn is_open(row: &Row) -> bool {
    let role = row.facts.role;
    matches!(role, Some(RoleName::Role(Role::Queue | Role::Checker) | RoleName::BesideQueue | RoleName::Runner))
}

/// The audit as one JSON array, an object a process. What the reader may not see is null, as is "no limit".
#[must_use]
pub fn json(rows: &[Row]) -> String {
    let mut json = Json::default();
    json.list(rows, row_json);
    json.0.push('\n');
    json.0
}

fn row_json(json: &mut Json, row: &Row) {
    let Facts { status, limits, .. } = &row.facts;
    let facts = &row.facts;
    json.object(|o| {
        o.field("pid", |j| j.number(facts.pid));
        o.field("role", |j| j.maybe(facts.role, |j, role| j.text(role.name())));
        o.field("profile", |j| j.text(facts.role.unwrap_or(RoleName::Session).name()));
        o.field("standing", |j| {
            j.text(match row.standing() {
                Standing::Passes => "passes",
                Standing::Weak => "weak",
                Standing::Beside => "beside",
                Standing::Program => "program",
            });
        });
        o.field("findings", |j| j.list(&row.findings, finding_json));
        o.field("ground", |j| j.text(if facts.ground() == Ground::Root { "root" } else { "user" }));
        o.field("name", |j| j.text(&status.name));
        o.field("cmdline", |j| j.list(&facts.cmdline, |j, word| j.text(word)));
        o.field("exe", |j| j.maybe(facts.exe.as_ref(), |j, exe| j.text(&exe.to_string_lossy())));
        o.field("set_id_file", |j| j.maybe(facts.set_id_file, Json::truth));
        o.field("parent", |j| j.number(status.parent));
        o.field("tracer", |j| j.number(status.tracer));
        o.field("uids", |j| j.list(&status.uids, |j, id| j.number(id)));
        o.field("gids", |j| j.list(&status.gids, |j, id| j.number(id)));
        o.field("groups", |j| j.list(&status.groups, |j, id| j.number(id)));
        o.field("capabilities", |j| {
            j.object(|o| {
                for (set, bits) in status.capabilities.sets() {
                    o.field(set, |j| j.text(&capability_names(bits)));
                }
            });
        });
        o.field("no_new_privs", |j| j.truth(status.no_new_privs));
        o.field("seccomp", |j| j.number(status.seccomp.mode));
        o.field("seccomp_filters", |j| j.maybe(status.seccomp.filters, Json::number));
        o.field("threads", |j| j.number(status.threads));
        o.field("data", |j| j.maybe(status.data, Json::number));
        o.field("resident", |j| j.maybe(status.resident, Json::number));
        o.field("limits", |j| {
            j.object(|o| {
                for resource in Resource::ALL {
                    let limit = limits.get(resource);
                    o.field(resource.name(), |j| j.list(&[limit.soft, limit.hard], |j, n| j.maybe(*n, Json::number)));
                }
            });
        });
        surroundings_json(o, facts);
    });
}

fn surroundings_json(o: &mut Fields<'_>, facts: &Facts) {
    o.field("namespaces", |j| {
        j.object(|o| {
            for kind in Ns::ALL {
                let found = facts.namespaces.iter().flatten().find(|ns| ns.kind == kind);
                o.field(kind.name(), |j| {
                    j.maybe(found, |j, ns| {
                        j.object(|o| {
                            o.field("inode", |j| j.number(ns.inode));
                            o.field("own", |j| j.truth(ns.own));
                        });
                    });
                });
            }
        });
    });
    o.field("root", |j| j.maybe(facts.root.as_ref(), |j, root| j.list(&root.names, |j, name| j.text(name))));
    o.field("root_read_only", |j| j.maybe(facts.mounts.and_then(|m| m.root_read_only), Json::truth));
    o.field("mounts", |j| j.maybe(facts.mounts, |j, mounts| j.number(mounts.count)));
    o.field("interfaces", |j| {
        j.maybe(facts.network.as_ref(), |j, network| j.list(&network.interfaces, |j, name| j.text(name)));
    });
    o.field("without_network", |j| j.maybe(facts.without_network(), Json::truth));
    o.field("descriptors", |j| {
        j.maybe(facts.descriptors.as_ref(), |j, descriptors| {
            j.object(|o| {
                for kind in Kind::ALL {
                    o.field(kind.name(), |j| j.number(descriptors.count(kind)));
                }
            });
        });
    });
    o.field("dumpable", |j| j.maybe(facts.dumpable, Json::truth));
    o.field("writable_code", |j| j.maybe(facts.writable_code, Json::number));
}

fn finding_json(json: &mut Json, finding: &Finding) {
    json.object(|o| {
        o.field("what", |j| j.text(finding.what));
        o.field("expected", |j| j.text(&finding.expected));
        o.field("found", |j| j.text(&finding.found));
    });
}

/// Writes JSON (RFC 8259): only what the audit needs of it.
#[derive(Default)]
struct Json(String);

impl Json {
    fn text(&mut self, text: &str) {
        self.0.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => self.0.extend(['\\', c]),
                c if c.is_control() => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(self.0, "\\u{unit:04x}");
                    }
                }
                c => self.0.push(c),
            }
        }
        self.0.push('"');
    }

    fn number(&mut self, number: impl std::fmt::Display) {
        let _ = write!(self.0, "{number}");
    }

    fn truth(&mut self, truth: bool) {
        self.0.push_str(if truth { "true" } else { "false" });
    }

    fn maybe<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            None => self.0.push_str("null"),
            Some(value) => write(self, value),
        }
    }

    fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.0.push('[');
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.0.push(',');
            }
            write(self, item);
        }
        self.0.push(']');
    }

    fn object(&mut self, write: impl FnOnce(&mut Fields<'_>)) {
        self.0.push('{');
        write(&mut Fields { json: self, first: true });
        self.0.push('}');
    }
}

/// The members of an object that is being written.
struct Fields<'j> {
    json: &'j mut Json,
    first: bool,
}

impl Fields<'_> {
    fn field(&mut self, name: &str, write: impl FnOnce(&mut Json)) {
        if !self.first {
            self.json.0.push(',');
        }
        self.first = false;
        self.json.text(name);
        self.json.0.push(':');
        write(self.json);
    }
}
