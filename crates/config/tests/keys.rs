//! The table of keys says what the parser does: each row is held against it. A key that is missing here has no text in the manual.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // Functions shared by tests, too.

use gatepost_config::keys::{Key, Kind, Table, Unset};
use gatepost_config::{Config, Faults, TABLES};
use std::collections::BTreeSet;
use std::path::Path;

/// The least that is sound, in ways to the backend and to logins that have keys of their own, and one of each section that may repeat.
const BASES: [&str; 5] = [
    r#"hostname = "mx.example.org"
[[listen]]
[relay]
domains = ["example.org"]
clients = ["192.0.2.9"]
[backend]
profile = "postfix"
connect = "tcp:192.0.2.1:10025"
[tls]
certificate = "/cert.pem"
key = "/key.pem"
[[tls.pair]]
certificate = "/cert.pem"
key = "/key.pem"
[[network]]
networks = ["192.0.2.0/24"]
[[admission.list]]
zone = "bl.example.net"
weight = 9
[[route]]
domains = ["lists.example.org"]
backend = { profile = "lmtp", connect = "tcp:192.0.2.1:24" }
"#,
    r#"hostname = "mx.example.org"
[[listen]]
tls = "off"
[relay]
domains = ["example.org"]
[backend]
profile = "smtp"
connect = "tcp:192.0.2.1:10025"
tls = "starttls"
certificate = "/cert.pem"
key = "/key.pem"
"#,
    r#"hostname = "mx.example.org"
[[listen]]
tls = "off"
[relay]
domains = ["example.org"]
[backend]
profile = "qmail-queue"
"#,
    r#"hostname = "mx.example.org"
[[listen]]
service = "submission"
[submission]
auth = "passwd:/passwd"
[tls]
certificate = "/cert.pem"
key = "/key.pem"
[relay]
domains = ["example.org"]
[backend]
profile = "postfix"
connect = "tcp:192.0.2.1:10025"
"#,
    r#"hostname = "mx.example.org"
[[listen]]
service = "submission"
[submission]
auth = "checkpassword:/checkpassword /bin/true"
[tls]
certificate = "/cert.pem"
key = "/key.pem"
[relay]
domains = ["example.org"]
[backend]
profile = "postfix"
connect = "tcp:192.0.2.1:10025"
"#,
];

fn parse(text: &str) -> Result<Config, Faults> {
    Config::parse(text, Path::new("gatepost.toml"))
}

/// `base` with `key = value` in its section, in the place of what stood there.
fn with(base: &str, table: &Table, key: &str, value: &str) -> String {
    let heading = match (table.name, table.repeated) {
        ("", _) => String::new(),
        (name, true) => format!("[[{name}]]"),
        (name, false) => format!("[{name}]"),
    };
    let mut out = String::new();
    let mut inside = heading.is_empty();
    let mut written = false;
    for line in base.lines() {
        if inside && !written {
            out.push_str(&format!("{key} = {value}\n"));
            written = true;
        }
        inside = if line.starts_with('[') { line == heading } else { inside };
        let replaced = inside && line.starts_with(&format!("{key} ="));
        if !replaced {
            out.push_str(&format!("{line}\n"));
        }
    }
    if !written && inside {
        out.push_str(&format!("{key} = {value}\n"));
    } else if !written {
        out.push_str(&format!("{heading}\n{key} = {value}\n"));
    }
    out
}

fn rows() -> impl Iterator<Item = (&'static Table, &'static Key)> {
    TABLES.iter().flat_map(|table| table.keys.iter().map(move |key| (table, key)))
}

fn name(table: &Table, key: &Key) -> String {
    format!("[{}] {}", table.name, key.name)
}

/// What is said of `value` there, in every base.
fn said(table: &Table, key: &Key, value: &str) -> String {
    BASES
        .map(|base| {
            parse(&with(base, table, key.name, value)).map_or_else(|faults| faults.to_string(), |_| String::new())
        })
        .concat()
}

#[test]
fn issue_13_every_key_has_a_text_and_a_version() {
    let mut seen = BTreeSet::new();
    for (table, key) in rows() {
        let name = name(table, key);
        assert!(seen.insert(name.clone()), "{name} stands twice");
        assert!(key.text.trim().len() > 10, "{name} has no text");
        assert!(key.text.trim().ends_with('.'), "{name}: the text is no sentence");
        assert!(!key.since.is_empty(), "{name}");
    }
    for table in TABLES {
        assert!(table.text.trim().ends_with('.'), "[{}] has no text", table.name);
    }
}

#[test]
fn issue_13_every_example_is_sound_somewhere() {
    for (table, key) in rows() {
        let sound = BASES.iter().any(|base| parse(&with(base, table, key.name, key.example)).is_ok());
        assert!(sound, "{}: {}", name(table, key), said(table, key, key.example));
    }
}

#[test]
fn issue_13_a_default_that_is_written_out_changes_nothing() {
    for (table, key) in rows() {
        let Unset::Is(default) = key.unset else { continue };
        let same = BASES.iter().any(|base| {
            let Ok(written) = parse(&with(base, table, key.name, default)) else { return false };
            let without = with(base, table, key.name, "0").replace(&format!("{} = 0\n", key.name), "");
            parse(&without).is_ok_and(|without| without == written)
        });
        assert!(same, "{} = {default} is not the default", name(table, key));
    }
}

#[test]
fn issue_13_what_is_required_is_missed() {
    for (table, key) in rows().filter(|(_, key)| key.unset == Unset::Required) {
        let missed = BASES.iter().any(|base| {
            let without = with(base, table, key.name, "0").replace(&format!("{} = 0\n", key.name), "");
            parse(&without).is_err_and(|faults| faults.to_string().contains("missing"))
        });
        assert!(missed, "{} is not required", name(table, key));
    }
}

/// The parser reads each key, and takes its kind and range from the table.
#[test]
fn issue_13_the_parser_wants_what_the_table_says() {
    for (table, key) in rows() {
        let name = name(table, key);
        let unit = if matches!(key.kind, Kind::Duration(..)) { "s" } else { "" };
        let value = |n: u64| if unit.is_empty() { n.to_string() } else { format!("\"{n}{unit}\"") };
        let wanted = match key.kind {
            Kind::Truth => "not true or false".to_owned(),
            Kind::Number(least, most) | Kind::Size(least, most) | Kind::Duration(least, most) => {
                assert!(said(table, key, &value(most + 1)).contains("is too much"), "{name} takes more than {most}");
                let below = least.checked_sub(1).map(|below| said(table, key, &value(below)));
                assert!(below.is_none_or(|said| said.contains("is too little")), "{name} takes less than {least}");
                "a date".to_owned()
            }
            Kind::Word(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                let (last, first) = quoted.split_last().unwrap();
                let advice = format!("write {} or {last}", first.join(", "));
                let said = said(table, key, "\"no such word\"");
                assert!(said.contains(&advice), "{name}: not {advice}\n{said}");
                "a date".to_owned()
            }
            Kind::Text(_) | Kind::OneOrList(_) | Kind::Other(_) => "a date".to_owned(),
            Kind::List(_) => "not a list".to_owned(),
        };
        let said = said(table, key, "1979-05-27");
        assert!(said.contains(&wanted), "{name} = 1979-05-27: not {wanted}\n{said}");
    }
}
