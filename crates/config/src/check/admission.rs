//! `[admission]`.

use crate::facts::{Admission, List, RULES_MAX};
use crate::fault::{Page, Wrong};
use crate::file::Read;
use crate::keys::Kind::{Duration, List as ListOf, Number, Text, Word};
use crate::keys::Unset::{Is, Required};
use crate::keys::{Table, keys};
use crate::section::{Section, plain};
use crate::value;
use gatepost_wire::names::LISTS_MAX;
use gatepost_wire::slice::{About, EarlyTalk, ListRule};
use std::path::Path;
use toml::Spanned;

/// The section.
pub(super) const TABLE: Table = Table {
    name: "admission",
    repeated: false,
    text: "Who gets a session.",
    keys: keys! {
        /// Compiled rules of tcprules(1), 4 MiB at most: `deny` refuses the connection, `RELAYCLIENT` lets a client send to any
        /// domain, `DATABYTES` bounds its messages. Another file that is moved there is in force within two seconds. While the
        /// file is damaged no client is taken. Empty: no rules.
        "rules" = Text("the path of a file, or empty"), Is("\"\""), since "0.1", as "\"/etc/tcp.smtp.cdb\"";
        /// A client that speaks before its greeting hears `554 5.5.1` and gets no session (`refuse`), or is only logged (`log`), or
        /// nobody looks (`off`). Never where TLS comes first; not of clients that may relay or are exempt.
        "early_talk" = Word(&["refuse", "log", "off"]), Is("\"refuse\""), since "0.1", as "\"log\"";
        /// Strangers wait so long for their greeting, without a session, so that those who speak too early are found surely.
        // Senders wait five minutes for a greeting (RFC 5321 §4.5.3.2.1), those of monitors a few seconds.
        "pause" = Duration(0, 30), Is("\"0s\""), since "0.1", as "\"6s\"";
        /// A client whose lists weigh so much together hears `421 4.7.1`, and so may come again. 0: none does.
        "defer_at" = Number(0, 1000), Is("0"), since "0.1", as "2";
        /// A client whose lists weigh so much together hears `554 5.7.1` with the list's name and text. 0: none does.
        "refuse_at" = Number(0, 1000), Is("0"), since "0.1", as "3";
    },
};

/// `[[admission.list]]`.
pub(super) const LIST: Table = Table {
    name: "admission.list",
    repeated: true,
    text: "A DNS list (RFC 5782), 16 at most, which is asked about strangers before their greeting: not about clients that may relay or \
           are exempt. Who is listed, and neither deferred nor refused, waits six seconds for the greeting. A list that does not answer, \
           that answers 127.255.255.x, or that lists 127.0.0.1, is left out until it does not any more, and `list-left-out` in the log \
           says so; it is asked about 127.0.0.1 and 127.0.0.2 at the start and once an hour.",
    keys: keys! {
        /// Below which name its answers stand.
        "zone" = Text("a domain"), Required, since "0.1", as "\"bl.example.net\"";
        /// How much it weighs.
        "weight" = Number(1, 100), Is("1"), since "0.1", as "2";
        /// Whether it lists those to be refused (`block`) or those to be let in (`allow`), whose weights count down. Whom such lists
        /// favour does not wait for `pause`.
        "kind" = Word(&["block", "allow"]), Is("\"block\""), since "0.1", as "\"allow\"";
        /// What it is asked about: the client's address, its name, where that leads back to the address, or what it says in HELO or EHLO.
        /// That is known after the greeting: the weight is added to those of the lists before, and recipients hear `450 4.7.1` or
        /// `554 5.7.1` then. Such a list delays nobody, and is never asked for logins.
        "ask" = Word(&["address", "name", "helo"]), Is("\"address\""), since "0.1", as "\"name\"";
        /// Which of its answers count: addresses, or the first and the last of several with a hyphen between them. Without any: all of
        /// 127.0.0.0/8 but 127.255.255.x, by which lists refuse to answer.
        "codes" = ListOf("an address of 127.0.0.0/8, or two with a hyphen between them"), Is("[]"), since "0.1", as "[\"127.0.0.2-127.0.0.11\"]";
    },
};

const KINDS: [(&str, bool); 2] = [("block", false), ("allow", true)];
const ABOUT: [(&str, About); 3] = [("address", About::Address), ("name", About::Name), ("helo", About::Helo)];

const EARLY_TALK: [(&str, EarlyTalk); 3] =
    [("refuse", EarlyTalk::Refuse), ("log", EarlyTalk::Log), ("off", EarlyTalk::Off)];

pub(super) fn facts(page: &mut Page<'_>, root: &Section<'_>, read: Read) -> Admission {
    let section = root.one(page, "admission");
    let rules = section.text(page, "rules", |text| {
        // As in the example: none.
        if text.is_empty() { Ok(None) } else { value::path(text).map(Some) }
    });
    if let (Some(Some(path)), Some(read)) = (rules.as_ref().map(Spanned::get_ref), read)
        && let Err(wrong) = readable(path, read)
        && let Some(rules) = &rules
    {
        section.fault(page, "rules", rules, wrong);
    }
    let default = Admission::default();
    let lists = lists(page, &section);
    let defer_at = section.number(page, "defer_at", default.defer_at);
    let refuse_at = section.number(page, "refuse_at", default.refuse_at);
    let most =
        lists.iter().filter(|list| !list.rule.allows).fold(0_u32, |sum, list| sum.saturating_add(list.rule.weight));
    for (key, bound) in [("defer_at", defer_at), ("refuse_at", refuse_at)] {
        if bound > most
            && let Some(value) = section.get(page, key, |_| Ok(()))
        {
            let what = format!("{bound} is never reached: the lists with kind = \"block\" weigh {most} together");
            section.fault(page, key, &value, Wrong::new(what, "write less, or a [[admission.list]] more"));
        }
    }
    Admission {
        rules: rules.and_then(Spanned::into_inner),
        early_talk: section.word(page, "early_talk", &EARLY_TALK).map_or(default.early_talk, Spanned::into_inner),
        pause: section.duration(page, "pause", default.pause),
        lists,
        defer_at,
        refuse_at,
    }
}

fn lists(page: &mut Page<'_>, section: &Section<'_>) -> Vec<List> {
    let sections = section.several(page, "admission.list");
    if let Some(span) = sections.get(LISTS_MAX).and_then(Section::span) {
        page.fault(span, Wrong::new(format!("more than {LISTS_MAX} [[admission.list]]"), "take some out"));
    }
    let mut lists: Vec<List> = sections.iter().filter_map(|section| list(page, section)).collect();
    lists.sort_by_key(|list| list.about == About::Helo);
    lists
}

/// None: it has no zone, or a wrong one.
fn list(page: &mut Page<'_>, section: &Section<'_>) -> Option<List> {
    let zone = section.text(page, "zone", value::zone);
    if !section.has("zone") {
        section.lack(page, "zone", "write where it is asked: zone = \"bl.example.net\"");
    }
    let weight = section.number(page, "weight", 1);
    let allows = section.word(page, "kind", &KINDS).is_some_and(Spanned::into_inner);
    let ask = section.word(page, "ask", &ABOUT);
    let about = ask.as_ref().map_or(About::Address, |about| *about.get_ref());
    if let Some(ask) = ask.filter(|_| allows && about == About::Helo) {
        let what = "a client says in HELO whatever name it likes, also one that such a list lists";
        section.fault(
            page,
            "ask",
            &ask,
            Wrong::new(what, "write ask = \"name\", which is confirmed, or kind = \"block\""),
        );
    }
    let codes = plain(section.list(page, "codes", value::list_codes));
    Some(List { rule: ListRule { zone: zone?.into_inner(), weight, allows, codes }, about })
}

/// What is in it is the listener's to judge: no client is taken while it makes no sense.
fn readable(path: &Path, read: fn(&Path) -> std::io::Result<Vec<u8>>) -> Result<(), Wrong> {
    let make = "make it with gatepost tcprules, or take rules out";
    match read(path) {
        Err(error) => Err(Wrong::new(format!("cannot be read: {error}"), make)),
        Ok(octets) if octets.is_empty() => Err(Wrong::new("the file is empty", make)),
        Ok(octets) if octets.len() > RULES_MAX => Err(Wrong::new(
            format!("it has {} octets, and at most {RULES_MAX} are taken", octets.len()),
            "make it smaller",
        )),
        Ok(_) => Ok(()),
    }
}
