//! The table itself, proved: Postfix, Exim, OpenSMTPD and Sendmail answer its rows in the same classes, but for the
//! differences that `peers.txt` names, each with the reason why we differ.

use crate::gate::HOSTNAME;
use gatepost_testkit::client::Client;
use gatepost_testkit::dialogue::{Expected, Heard, Row, classes, overhear, speak_to_stranger, table};
use gatepost_testkit::host::{self, HERE, Host};
use gatepost_testkit::peer::Peer;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const DIFFERENCES: &str = include_str!("peers.txt");

/// What a peer does with a row where it differs, by the row's name, and the reason's name.
type Differences = BTreeMap<String, (String, String)>;

/// Rows whose outcome lies with the server behind, not with the one that is spoken to.
fn is_judgement(row: &Row) -> bool {
    let words = ["later@", "many@", "bye@", "bad@", "refuse\\r", "defer\\r"];
    row.text.starts_with("refuse") || row.text.starts_with("defer") || words.iter().any(|word| row.text.contains(word))
}

/// The rows of the table that can be asked of any server: no setting of ours, no keyword list, no judgement.
fn rows() -> Vec<Row> {
    let asks = |row: &Row| row.settings.iter().all(|setting| setting == "whole") && !is_judgement(row);
    let mut seen = BTreeSet::new();
    table().into_iter().filter(|row| asks(row) && seen.insert(row.name())).collect()
}

/// Reasons by name, and the differences of one peer.
fn differences(peer: Peer) -> (BTreeSet<&'static str>, Differences) {
    let (mut reasons, mut all) = (BTreeSet::new(), BTreeMap::new());
    let (mut ours, mut reason) = (false, "");
    for line in DIFFERENCES.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")) {
        if let Some(text) = line.strip_prefix("= ") {
            let (name, why) = text.split_once(": ").unwrap_or_else(|| panic!("a reason without a why: {line}"));
            assert!(why.len() > 20 && reasons.insert(name), "{line}");
        } else if let Some(context) = line.strip_prefix("@ ") {
            let (name, why) = context.split_once(' ').unwrap_or_else(|| panic!("no reason: {line}"));
            assert!(reasons.contains(why), "unknown reason: {line}");
            assert!(Peer::ALL.iter().any(|peer| peer.name() == name), "unknown peer: {line}");
            (ours, reason) = (name == peer.name(), why);
        } else if ours {
            let (name, instead) = line.rsplit_once(" => ").unwrap_or_else(|| panic!("no =>: {line}"));
            let twice = all.insert(name.to_owned(), (instead.to_owned(), reason.to_owned()));
            assert!(twice.is_none(), "twice: {line}");
        }
    }
    (reasons, all)
}

/// The row as this peer answers it.
fn instead(row: &Row, instead: &str) -> Row {
    let mut words: Vec<&str> = instead.split(", ").filter(|word| *word != "-").collect();
    let closes = words.last() == Some(&"close");
    if closes {
        words.pop();
    }
    let reply = |word: &&str| Expected {
        code: word.parse().unwrap_or_else(|_| panic!("{instead}: no code: {word}")),
        enhanced: None,
        with: Vec::new(),
        without: Vec::new(),
    };
    Row { replies: words.iter().map(reply).collect(), closes, ..row.clone() }
}

fn client(host: &Host, patience: Duration) -> Option<Client> {
    let mut client = Client::over(host.connect(&format!("{HERE}:25")));
    (client.try_reply().ok()?.code == 220).then_some(())?;
    client.set_patience(patience);
    Some(client)
}

/// What this peer makes of a row, as a line for the table of differences; none when it is what it should be.
fn difference(host: &Host, row: &Row) -> Option<String> {
    let wanted = classes(row.replies.iter().map(|reply| reply.code), row.closes);
    // OpenSMTPD closes after some faults, and on a busy machine may have answered the next line before: three tries.
    let agrees = |_| {
        let client = client(host, Duration::from_secs(10));
        let heard = client.and_then(|mut client| speak_to_stranger(&mut client, row, HOSTNAME).ok());
        heard.is_some_and(|heard| without_farewell(row, heard).classes() == wanted)
    };
    if (0..3).any(agrees) {
        return None;
    }
    let heard = client(host, Duration::from_secs(1)).and_then(|mut client| overhear(&mut client, row, HOSTNAME));
    // A peer that was busy the first time, or turned the client away, may say now what the table says.
    if heard.as_ref().is_some_and(|heard| heard.classes() == wanted) {
        return None;
    }
    let heard = heard.map_or("refused".to_owned(), |heard| heard.to_string());
    Some(format!("{} => {}", row.name(), if heard.is_empty() { "-" } else { &heard }))
}

/// Some have a last word for a client that is gone, and some take what it has not ended for a command.
fn without_farewell(row: &Row, mut heard: Heard) -> Heard {
    let unended = row.steps.last().is_some_and(|step| !step.ends_with(b"\r\n"));
    let farewell = heard.replies.len() == row.replies.len() + 1 && heard.replies.last().is_some_and(|r| r.code == 421);
    if !row.closes && (unended || farewell) {
        heard.replies.truncate(row.replies.len());
    }
    heard
}

/// Its STARTTLS comes to its end.
fn speaks_tls(host: &Host) -> bool {
    let mut client = client(host, Duration::from_secs(10)).expect("a greeting");
    client.ask("EHLO client.test", 250);
    client.try_starttls(HOSTNAME).is_ok()
}

fn prove(peer: Peer, test: &str) {
    if !peer.is_there(test) {
        return;
    }
    let Some(host) = host::for_test(test, &["postfix", "openssl"]) else { return };
    let (_, known) = differences(peer);
    let _process = peer.start(&host);
    let rows: Vec<Row> = rows().into_iter().filter(|row| peer.lacks(row).is_none()).collect();
    // None is left out for longer than it must be.
    assert_eq!(speaks_tls(&host), rows.iter().any(|row| row.prelude == "tls"), "{}: TLS", peer.name());
    let names: BTreeSet<String> = rows.iter().map(Row::name).collect();
    let stale: Vec<&String> = known.keys().filter(|name| !names.contains(*name)).collect();
    assert!(stale.is_empty(), "{}: differences in rows that are not there: {stale:#?}", peer.name());
    let own = |row: &Row| classes(row.replies.iter().map(|reply| reply.code), row.closes);
    let alike = |row: &&Row| known.get(&row.name()).is_some_and(|(other, _)| own(&instead(row, other)) == own(row));
    let vain: Vec<String> = rows.iter().filter(alike).map(Row::name).collect();
    assert!(vain.is_empty(), "{}: differences that are none: {vain:#?}", peer.name());
    let agree = rows.len() - known.len();
    let ask = |row: &Row| match known.get(&row.name()) {
        Some((instead_of, _)) => difference(&host, &instead(row, instead_of)),
        None => difference(&host, row),
    };
    // A few at once: these servers pause where we do not.
    let lanes: Vec<Vec<&Row>> = (0..8).map(|lane| rows.iter().skip(lane).step_by(8).collect()).collect();
    let found: Vec<String> = std::thread::scope(|scope| {
        let lanes: Vec<_> = lanes
            .iter()
            .map(|lane| scope.spawn(|| lane.iter().filter_map(|row| ask(row)).collect::<Vec<_>>()))
            .collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    });
    println!("{}: {} rows, {} agree, {} differ by name", peer.name(), rows.len(), agree, known.len());
    assert!(found.is_empty(), "{}: not what the table says:\n{}", peer.name(), found.join("\n"));
    assert!(rows.len() >= 250 && agree * 2 > rows.len(), "{}: {agree} of {} agree", peer.name(), rows.len());
}

#[test]
fn the_table_holds_for_postfix() {
    prove(Peer::Postfix, "the_table_holds_for_postfix");
}

#[test]
fn the_table_holds_for_exim() {
    prove(Peer::Exim, "the_table_holds_for_exim");
}

#[test]
fn the_table_holds_for_opensmtpd() {
    prove(Peer::OpenSmtpd, "the_table_holds_for_opensmtpd");
}

#[test]
fn the_table_holds_for_sendmail() {
    prove(Peer::Sendmail, "the_table_holds_for_sendmail");
}
