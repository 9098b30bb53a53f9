//! What is different for some clients, and how much all others may do in a time: a row for each, so that what is in force can be read
//! in one place.

use crate::findings::{Fitness, Level};
use crate::plan::Plan;
use gatepost_config::ForNetworks;
use gatepost_wire::network::Network;
use gatepost_wire::rate::{MailRates, Rate};
use gatepost_wire::terms::Terms;
use std::path::Path;

impl Fitness {
    /// `[[network]]`, and the clients of `[relay]`.
    pub(super) fn look_at_networks(&mut self, plan: &Plan) {
        let relay = &plan.config.relay;
        let file = relay.clients_file.as_ref().map(|file| (file.path.as_path(), file.networks.as_slice()));
        if !relay.clients.is_empty() || file.is_some() {
            let text = format!("may send to any domain{}", in_file(file));
            self.add(format!("relay.clients {}", names(&relay.clients)), Level::Good, text);
        }
        for network in &plan.config.networks {
            self.look_at_network(network);
        }
    }

    fn look_at_network(&mut self, ForNetworks { networks, file, terms }: &ForNetworks) {
        let file = file.as_ref().map(|file| (file.path.as_path(), file.networks.as_slice()));
        let everyone = networks.iter().chain(file.iter().flat_map(|(_, networks)| *networks)).any(|n| n.prefix() == 0);
        let subject = format!("network {}", names(networks));
        let text = format!("{}{}", differences(*terms), in_file(file));
        match everyone && terms.exempt {
            true => self.add(subject, Level::Look, format!("{text}: nobody is tested, and no rate is measured")),
            false => self.add(subject, Level::Good, text),
        }
    }

    /// `[rates]`.
    pub(super) fn look_at_rates(&mut self, plan: &Plan) {
        let MailRates { messages, recipients, refused_recipients, login_recipients } = plan.config.rates.mail;
        let all = [
            ("connections", plan.config.rates.connections),
            ("messages", messages),
            ("recipients", recipients),
            ("refused recipients", refused_recipients),
        ];
        let rates: Vec<String> =
            all.iter().filter_map(|(what, rate)| Some(format!("{} {what}", per((*rate)?)))).collect();
        let text = match rates.is_empty() {
            true => "none: an address may have as much in a time as its sessions at once allow".to_owned(),
            false => format!("{} of one address, and four times as much of its /24 or /48", rates.join(", ")),
        };
        self.add("rates", Level::Good, text);
        if let Some(rate) = login_recipients {
            self.add("rate of a login", Level::Good, format!("{} recipients, from whatever addresses", per(rate)));
        }
    }
}

/// The first of them, and how many there are besides.
fn names(networks: &[Network]) -> String {
    match networks {
        [] => "in a file".to_owned(),
        [one] => one.to_string(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}

fn in_file(file: Option<(&Path, &[Network])>) -> String {
    file.map(|(path, networks)| format!("; {} networks in {}", networks.len(), path.display())).unwrap_or_default()
}

fn differences(terms: Terms) -> String {
    let Terms { relay, exempt, message_size, sessions_per_address, hidden } = terms;
    let words = [
        relay.then(|| "may send to any domain".to_owned()),
        exempt.then(|| "exempt from lists, rates and penalties".to_owned()),
        (message_size > 0).then(|| format!("messages of {message_size} octets at most")),
        (sessions_per_address > 0).then(|| format!("{sessions_per_address} sessions of an address at most")),
        (hidden != Default::default()).then(|| "some EHLO keywords are hidden".to_owned()),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    if words.is_empty() { "as all others".to_owned() } else { words.join(", ") }
}

fn per(Rate { count, seconds }: Rate) -> String {
    let unit = match seconds {
        1 => "s".to_owned(),
        60 => "m".to_owned(),
        3600 => "h".to_owned(),
        86_400 => "d".to_owned(),
        seconds => format!("{seconds}s"),
    };
    format!("{count}/{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_12_what_is_different_for_whom_is_said_in_words() {
        let terms = Terms::default();
        for (terms, said) in [
            (terms, "as all others"),
            (Terms { relay: true, ..terms }, "may send to any domain"),
            (
                Terms { exempt: true, message_size: 9, sessions_per_address: 2, ..terms },
                "exempt from lists, rates and penalties, messages of 9 octets at most, 2 sessions of an address at most",
            ),
        ] {
            assert_eq!(differences(terms), said);
        }
        assert_eq!(per(Rate { count: 5, seconds: 3600 }), "5/h");
        let networks: Vec<Network> = ["192.0.2.0/24", "::1"].map(|text| text.parse().unwrap()).to_vec();
        assert_eq!([names(&networks), names(&networks[..1])], ["192.0.2.0/24 and 1 more", "192.0.2.0/24"]);
        assert_eq!(in_file(Some((Path::new("/x"), &networks))), "; 2 networks in /x");
    }
}
