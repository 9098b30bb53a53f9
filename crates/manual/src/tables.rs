//! What stands in pages for a line `{{WORD}}`: the tables that the programs work by, as markdown.

use clap::{Arg, ArgAction, Command};
use gatepost_config::TABLES;
use gatepost_config::keys::{Key, Kind, Table, Unset};
use gatepost_smtp::envelope::{CloseReason, Reason};
use gatepost_ucspi::tcpserver;
use gatepost_wire::event::{Course, Event, ListTrouble, NoName, Penalty, Renewed, Turned};
use gatepost_wire::line::Level;

/// What `{{word}}` stands for; None: nothing has that name.
pub(crate) fn table(word: &str, command: &Command) -> Option<String> {
    Some(match word {
        "commands" => commands(command),
        "keys" => TABLES.iter().map(section).collect(),
        "events" => events(),
        "reasons" => definitions(Reason::ALL.iter().map(|reason| (format!("{reason:?}"), reason.doc()))),
        "ends" => definitions(CloseReason::ALL.iter().map(|reason| (format!("{reason:?}"), reason.doc()))),
        "turned" => definitions(Turned::ALL.iter().map(|why| (format!("{why:?}"), why.doc()))),
        "renewed" => definitions(Renewed::ALL.iter().map(|what| (format!("{what:?}"), what.doc()))),
        "penalties" => definitions(Penalty::ALL.iter().map(|penalty| (format!("{penalty:?}"), penalty.doc()))),
        "courses" => definitions(Course::ALL.iter().map(|course| (format!("{course:?}"), course.doc()))),
        "list-troubles" => definitions(ListTrouble::ALL.iter().map(|why| (format!("{why:?}"), why.doc()))),
        "no-names" => definitions(NoName::ALL.iter().map(|why| (format!("{why:?}"), why.doc()))),
        "tcpserver-options" => definitions(tcpserver::help::options()),
        _ => return None,
    })
}

/// Each with its explanation.
fn definitions<'a>(rows: impl Iterator<Item = (String, &'a str)>) -> String {
    rows.map(|(term, what)| format!("`{term}`\n: {}\n\n", sentence(what))).collect()
}

/// Beginning with a capital letter, ending with a full stop.
fn sentence(text: &str) -> String {
    let text = text.trim();
    let mut chars = text.chars();
    let first: String = chars.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    let end = if text.ends_with(['.', ':', '?']) { "" } else { "." };
    format!("{first}{}{end}", chars.as_str())
}

fn section(table: &Table) -> String {
    let heading = match (table.name, table.repeated) {
        ("", _) => "At the top".to_owned(),
        (name, true) => format!("\\[\\[{name}\\]\\]"),
        (name, false) => format!("\\[{name}\\]"),
    };
    let keys: String = table.keys.iter().map(key).collect();
    format!("### {heading}\n\n{}\n\n{keys}", sentence(table.text))
}

fn key(key: &Key) -> String {
    let default = match key.unset {
        Unset::Is(value) => format!("Default: `{value}`."),
        Unset::Required => "It has to be written.".to_owned(),
        Unset::Said(what) => format!("Default: {what}."),
    };
    format!(
        "`{}` = {}\n: {} {default} Since {}. Example: `{} = {}`\n\n",
        key.name,
        kind(key.kind),
        sentence(key.text),
        key.since,
        key.name,
        key.example
    )
}

fn kind(kind: Kind) -> String {
    match kind {
        Kind::Truth => "true or false".to_owned(),
        Kind::Number(least, most) => format!("a number from {least} to {most}"),
        Kind::Size(least, most) => format!("octets, `\"{}\"` to `\"{}\"`", octets(least), octets(most)),
        Kind::Duration(least, most) => format!("a time, `\"{}\"` to `\"{}\"`", seconds(least), seconds(most)),
        Kind::Word(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
            words.join(", ")
        }
        Kind::List(form) => format!("a list, each {form}"),
        Kind::OneOrList(form) => format!("{form}; or a list of such"),
        Kind::Text(form) | Kind::Other(form) => form.to_owned(),
    }
}

/// In the largest unit that has no rest.
fn in_units(n: u64, units: &[(&str, u64)], smallest: &str) -> String {
    let fitting = units.iter().find(|(_, factor)| n >= *factor && n.is_multiple_of(*factor));
    fitting.map_or_else(|| format!("{n}{smallest}"), |(unit, factor)| format!("{}{unit}", n / factor))
}

fn octets(n: u64) -> String {
    in_units(n, &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)], "")
}

fn seconds(n: u64) -> String {
    in_units(n, &[("h", 3600), ("m", 60)], "s")
}

fn events() -> String {
    let mut out = String::new();
    for row in Event::TABLE {
        let level = match row.level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Info => "info",
        };
        out.push_str(&format!("### {} ({level})\n\n{}\n\n", row.name, sentence(&row.doc.concat())));
        for (field, doc) in row.fields {
            out.push_str(&format!("`{field}`\n: {}\n\n", sentence(&doc.concat())));
        }
    }
    out
}

fn commands(command: &Command) -> String {
    command.get_subcommands().filter(|sub| !sub.is_hide_set()).map(one_command).collect()
}

fn one_command(command: &Command) -> String {
    let shown: Vec<&Arg> = command.get_arguments().filter(|arg| !arg.is_hide_set() && arg.get_id() != "help").collect();
    let usage: String = shown.iter().map(|arg| bracketed(arg)).collect();
    let about = command.get_long_about().or_else(|| command.get_about()).map(ToString::to_string).unwrap_or_default();
    let mut out = format!("### gatepost {}{usage}\n\n{}\n\n", command.get_name(), sentence(&about));
    for arg in shown {
        let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
        let default: Vec<String> =
            arg.get_default_values().iter().map(|value| value.to_string_lossy().into()).collect();
        let default = if default.is_empty() || !arg.get_action().takes_values() {
            String::new()
        } else {
            format!(" Default: `{}`.", default.join(" "))
        };
        out.push_str(&format!("{}\n: {}{default}\n\n", usage_marked(arg), sentence(&help)));
    }
    out
}

/// In the usage of its command; what may be left out stands in brackets.
fn bracketed(arg: &Arg) -> String {
    let usage = usage(arg);
    if arg.is_required_set() { format!(" {usage}") } else { format!(" \\[{usage}\\]") }
}

/// `--listen ADDR`, `PIDS...`
fn usage(arg: &Arg) -> String {
    words(arg).into_iter().map(|(_, word)| word).collect::<Vec<_>>().join(" ")
}

fn usage_marked(arg: &Arg) -> String {
    let marked = |(literal, word): (bool, String)| if literal { format!("`{word}`") } else { format!("*{word}*") };
    words(arg).into_iter().map(marked).collect::<Vec<_>>().join(" ")
}

/// The option and what stands for its value; true: to be typed as it is.
fn words(arg: &Arg) -> Vec<(bool, String)> {
    let mut words = Vec::new();
    if let Some(long) = arg.get_long() {
        words.push((true, format!("--{long}")));
    }
    if arg.get_action().takes_values() {
        let value =
            arg.get_value_names().map(|names| names.join(" ")).unwrap_or_else(|| arg.get_id().as_str().to_uppercase());
        let more = if matches!(arg.get_action(), ArgAction::Append) { "..." } else { "" };
        words.push((false, format!("{value}{more}")));
    }
    words
}
