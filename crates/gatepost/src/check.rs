//! `gatepost check`: everything that can be known before serving, in one table.

use crate::logins;
use crate::said::fail;
use gatepost_config::{Backend, Config, Profile};
use gatepost_launcher::LauncherError;
use gatepost_launcher::findings::{Fitness, Level};
use gatepost_launcher::plan::Plan;
use gatepost_log::json_string;
use gatepost_wire::slice::{Dialect, Identity};
use std::path::Path;
use std::process::ExitCode;

/// Exit status where it serves, but somebody should look.
const LOOK: u8 = 2;

const NO_NAMES: &str = "no name server answers from inside the resolver's jail, as the line above says: mail is taken, but clients have \
                        no names, and a Postfix that asks for them (reject_unknown_client_hostname) makes all wait (450). \
                        Mend /etc/resolv.conf, or write [names] servers";
const NO_PROOF: &str =
    "cannot be asked now whether it relays for strangers, as the line above says: mail for it has to come again (4yz)";
const NO_LOGINS: &str = "mail of who has logged in will be refused, as the line above says: in Postfix write \
                         smtpd_relay_restrictions=permit_sasl_authenticated,reject_unauth_destination and smtpd_sasl_auth_enable=yes";
const NO_LISTS: &str = "one does not answer as a list does, and is left out as long as it does not: the lines list-left-out say which and why";

/// A backend that has passed its proof, and what it does.
fn backend_row(backend: &Backend) -> (String, String) {
    let proof = match (backend.dialect, backend.relay_proof) {
        (Dialect::Qmqp, _) => "takes messages from us, for whomever they are: what may pass is said by [relay] alone",
        (_, true) => "refuses to relay for a stranger",
        (_, false) => "not asked: relay_proof = false",
    };
    let identity = match backend.identity {
        Identity::None => "is not told who the client is",
        Identity::Xclient => "is told who the client is by XCLIENT",
        Identity::ProxyV2 => "is told who the client is by a PROXY header",
    };
    let names = match (backend.profile, backend.identity) {
        (Profile::Postfix, Identity::Xclient) => {
            "; with its names as well (NAME, REVERSE_NAME), so reject_unknown_client_hostname and \
             reject_unknown_reverse_client_hostname work there as on port 25"
        }
        (Profile::Postfix, Identity::ProxyV2) => {
            "; which has no names: for reject_unknown_client_hostname Postfix asks DNS itself, or write identity = \"xclient\""
        }
        _ => "",
    };
    (format!("backend {}", backend.profile.name()), format!("{proof}; {identity}{names}"))
}

/// The table, of which each row is shown as soon as it is known, but for JSON.
#[derive(Debug)]
struct Table {
    json: bool,
    /// Rows that wait for the end.
    rows: Vec<(Level, String, String)>,
    worst: Level,
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Good => "ok",
        Level::Note => "note",
        Level::Look => "LOOK",
        Level::Fault => "FAULT",
    }
}

impl Table {
    fn row(&mut self, level: Level, what: &str, found: &str) {
        self.worst = self.worst.max(level);
        match self.json {
            true => self.rows.push((level, what.to_owned(), found.to_owned())),
            false => println!("{:<7} {what:<44} {found}", word(level)),
        }
    }

    fn end(self) -> ExitCode {
        if self.json {
            println!("{}", self.to_json());
        }
        match self.worst {
            Level::Good | Level::Note => ExitCode::SUCCESS,
            Level::Look => LOOK.into(),
            Level::Fault => ExitCode::FAILURE,
        }
    }

    /// RFC 8259.
    fn to_json(&self) -> String {
        let row = |(level, what, found): &(Level, String, String)| {
            format!(
                "{{\"level\":\"{}\",\"what\":{},\"found\":{}}}",
                word(*level),
                json_string(what),
                json_string(found)
            )
        };
        let rows: Vec<String> = self.rows.iter().map(row).collect();
        format!("{{\"worst\":\"{}\",\"rows\":[{}]}}", word(self.worst), rows.join(","))
    }
}

/// Reads a configuration. The error is the whole list of its mistakes, ready to be shown.
pub(crate) fn plan_of(path: &Path) -> Result<Plan, String> {
    Config::load(path).map(Plan::from).map_err(|faults| faults.to_string())
}

/// What can be known before serving, of which what only a start can tell is told by a start without clients. Changes
/// nothing. Exit status 0: ready; 1: will not serve; 2: serves, but somebody should look.
pub(crate) fn run(path: &Path, json: bool) -> ExitCode {
    let mut table = Table { json, rows: Vec::new(), worst: Level::Good };
    let configuration = format!("configuration {}", path.display());
    match plan_of(path) {
        Ok(plan) => {
            table.row(Level::Good, &configuration, "no mistakes");
            look(&mut table, path, plan);
            table.end()
        }
        Err(faults) if json => {
            table.row(Level::Fault, &configuration, &faults);
            table.end()
        }
        Err(faults) => fail(&faults),
    }
}

fn look(table: &mut Table, path: &Path, plan: Plan) {
    let mut fitness = Fitness::before_start(&plan);
    fitness.look_at_path(path);
    for finding in &fitness.findings {
        table.row(finding.level, &finding.subject, &finding.text);
    }
    for (level, what, text) in logins::look(&plan.config) {
        table.row(level, &what, &text);
    }
    // Where the system does not fit the configuration no role would get far.
    if fitness.faults().is_empty() {
        rehearse(table, plan);
    }
}

/// What a start without clients shows.
fn rehearse(table: &mut Table, plan: Plan) {
    let backends: Vec<(String, String)> = plan.config.backends().map(backend_row).collect();
    let jails = "entered, proved from inside, seen from outside";
    let lists = plan.config.admission.lists.len();
    match gatepost_launcher::rehearse(plan) {
        Ok(seen) => {
            table.row(Level::Good, "jails", jails);
            for ((backend, found), bit) in backends.iter().zip(0..u64::BITS) {
                match (seen.unproved >> bit) & 1 {
                    0 => table.row(Level::Good, backend, found),
                    _ => table.row(Level::Look, backend, NO_PROOF),
                }
            }
            if !seen.logins {
                table.row(Level::Look, "backend for submission", NO_LOGINS);
            }
            match seen.names {
                true => table.row(Level::Good, "names", "a name server answers from inside the resolver's jail"),
                false => table.row(Level::Look, "names", NO_NAMES),
            }
            match (lists, seen.lists) {
                (0, _) => {}
                (_, true) => table.row(Level::Good, "DNS lists", "each lists 127.0.0.2, and not 127.0.0.1"),
                (_, false) => table.row(Level::Look, "DNS lists", NO_LISTS),
            }
        }
        Err(e @ LauncherError::Unproved) => {
            table.row(Level::Good, "jails", jails);
            table.row(Level::Look, "backend", &format!("{e} Until it can be, clients are told to come again (421)"));
        }
        Err(e) => table.row(Level::Fault, "rehearsal in the jails", &e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_12_check_s_json_is_json_whatever_a_text_has_in_it() {
        let mut table = Table { json: true, rows: Vec::new(), worst: Level::Good };
        let texts = ["a \"quoted\" \\ text", "two\nlines\tand \u{1b} more", "\u{e9}"];
        table.row(Level::Note, texts[0], texts[1]);
        table.row(Level::Look, texts[2], "");
        let read: serde_json::Value = serde_json::from_str(&table.to_json()).unwrap();
        assert_eq!(read["worst"], "LOOK");
        let rows = read["rows"].as_array().unwrap();
        assert_eq!(
            (&rows[0]["level"], &rows[0]["what"], &rows[0]["found"]),
            (&"note".into(), &texts[0].into(), &texts[1].into())
        );
        assert_eq!(rows[1]["what"], texts[2]);
    }
}
