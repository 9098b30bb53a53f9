//! The table of dialogues against the whole binary, in clear and inside TLS.

use crate::gate::HOSTNAME;
use crate::site::{Site, Way};
use gatepost_testkit::dialogue::{Row, speak, table};
use gatepost_testkit::host;
use std::collections::BTreeMap;

/// Rows about what handoff never answers: to the engine any verdict is possible.
const ENGINE_ONLY: [(&str, &str); 1] =
    [("mail RCPT TO:<bye@ok.test>\\r\\nNOOP", "a backend that closes costs the recipient, not the session")];

/// Rows that speak of STARTTLS, or say a ClientHello without it, cannot be spoken inside TLS.
fn speaks_of_tls(row: &Row) -> bool {
    row.prelude == "tls" || row.text.to_ascii_uppercase().contains("STARTTLS") || row.text.starts_with("\\x16\\x03")
}

/// Why a row does not come out as it is written; none: it does.
fn complaint(site: &Site<'_>, row: &Row, way: Way) -> Option<String> {
    let before = site.backend.count();
    let heard = match speak(&mut site.client(way), row, HOSTNAME) {
        Ok(heard) => heard,
        Err(why) => return Some(why),
    };
    if let Some(complaint) = heard.complaint(row) {
        return Some(complaint);
    }
    let taken = site.backend.messages(before);
    let wanted = row.messages()?;
    if taken.len() != wanted {
        return Some(format!("{wanted} messages wanted, {} came through: {taken:?}", taken.len()));
    }
    // Beneath our one header field the content is what the engine made of it, octet for octet.
    let contents = row.events.iter().flatten().filter_map(|event| event.strip_prefix("content "));
    let wrong = contents.zip(&taken).find(|(content, message)| {
        let content = gatepost_testkit::dialogue::unescape(content);
        !message.content.starts_with(b"Received: ") || !message.content.ends_with(&content)
    });
    wrong.map(|(content, message)| format!("wanted {content}, got {}", message.content.escape_ascii()))
}

#[test]
fn p9_every_dialogue_comes_out_the_same_through_the_whole_binary() {
    let name = "p9_every_dialogue_comes_out_the_same_through_the_whole_binary";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let mut contexts: BTreeMap<Vec<String>, Vec<Row>> = BTreeMap::new();
    for row in table() {
        let settings: Vec<String> = row.settings.iter().filter(|setting| *setting != "whole").cloned().collect();
        contexts.entry(settings).or_default().push(row);
    }
    let (mut complaints, mut spoken) = (Vec::new(), BTreeMap::new());
    for (settings, rows) in contexts {
        let Some(site) = Site::start(&host, &settings) else { continue };
        for way in [Way::Plain, Way::Tls] {
            let able = settings.iter().all(|setting| setting != "no-starttls" && setting != "tls-required");
            let fits = |row: &&Row| way == Way::Plain || (able && !speaks_of_tls(row));
            let rows = rows.iter().filter(fits).filter(|row| !ENGINE_ONLY.iter().any(|(name, _)| *name == row.name()));
            for row in rows {
                *spoken.entry(format!("{way:?}")).or_insert(0) += 1;
                complaints
                    .extend(complaint(&site, row, way).map(|why| format!("{} {way:?} {}: {why}", row.place, row.text)));
            }
        }
        site.stop();
    }
    assert!(complaints.is_empty(), "{} rows fail:\n{}", complaints.len(), complaints.join("\n"));
    assert!(spoken.len() == 2 && spoken.values().all(|rows| *rows >= 250), "{spoken:?}");
}
