//! What is counted, and the text by which Prometheus reads it. Pure.
//!
//! Labels are words of fixed lists, never an address or a text: an owned role can tell wrong numbers, and no more of them than
//! there are words.

use gatepost_log::LAUNCHER;
use gatepost_wire::control::Role;
use gatepost_wire::event::{Event, Renewed};
use gatepost_wire::gauge::Gauges;
use gatepost_wire::line::Level;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::collections::BTreeSet;

type Labels = Vec<(&'static str, String)>;
type Counters = Family<Labels, Counter>;

/// Bounds of the classes into which times are counted, seconds.
const TIMES: [f64; 10] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0];

/// What came of a reload.
const TAKEN: &str = "taken";
const REFUSED: &str = "refused";

/// All counters, and the registry that shows them.
#[derive(Debug)]
pub(crate) struct Counts {
    registry: Registry,
    sessions: Counters,
    messages: Counter,
    octets: Counter,
    recipients: Counters,
    refused: Counters,
    turned_away: Counters,
    early_talk: Counters,
    penalties: Counters,
    crashed: Counter,
    stress: Counter,
    logins: Counters,
    listed: Counters,
    lists_left_out: Counters,
    owned: Counter,
    kept_back: Counter,
    ending: Counter,
    reloads: Counters,
    roles_ended: Counters,
    lines: Counters,
    lost: Counters,
    took: Histogram,
    backend: Histogram,
    now: Now,
}

/// How much there is now, by what each role said last.
#[derive(Debug, Default)]
struct Now {
    stages: Family<Labels, Gauge>,
    slots: Gauge,
    slots_used: Gauge,
    waiting: Gauge,
    penalties: Gauge,
    connections: Gauge,
    connections_max: Gauge,
    connections_waiting: Gauge,
    roles_up: Gauge,
    roles: Gauge,
    generations: Gauge,
    proved: Gauge,
    names: Gauge,
}

impl Counts {
    /// All at zero.
    pub(crate) fn new() -> Self {
        let counts = Self {
            registry: Registry::with_prefix("gatepost"),
            sessions: Family::default(),
            messages: Counter::default(),
            octets: Counter::default(),
            recipients: Family::default(),
            refused: Family::default(),
            turned_away: Family::default(),
            early_talk: Family::default(),
            penalties: Family::default(),
            crashed: Counter::default(),
            stress: Counter::default(),
            logins: Family::default(),
            listed: Family::default(),
            lists_left_out: Family::default(),
            owned: Counter::default(),
            kept_back: Counter::default(),
            ending: Counter::default(),
            reloads: Family::default(),
            roles_ended: Family::default(),
            lines: Family::default(),
            lost: Family::default(),
            took: Histogram::new(TIMES),
            backend: Histogram::new(TIMES),
            now: Now::default(),
        };
        // There from the beginning: an alert on the increase of what appears as 1 would miss the first.
        for role in Role::ALL {
            count(&counts.roles_ended, "role", role.name().to_owned(), 0);
        }
        for what in Renewed::ALL {
            for result in [TAKEN, REFUSED] {
                let _ = counts.reloads.get_or_create(&reload(what, result));
            }
        }
        counts.registered()
    }

    #[rustfmt::skip] // A line for each.
    fn registered(mut self) -> Self {
        let r = &mut self.registry;
        r.register("sessions", "Sessions that ended, by reason", self.sessions.clone());
        r.register("messages", "Messages for which a client heard 250", self.messages.clone());
        r.register_with_unit("content", "Content of these messages", Unit::Bytes, self.octets.clone());
        r.register("recipients", "Recipients of transactions that ended, by the class of the reply and its reason", self.recipients.clone());
        r.register("commands_refused", "Commands that a session refused by itself, by the class of the reply", self.refused.clone());
        r.register("connections_turned_away", "Connections that got no session, by reason", self.turned_away.clone());
        r.register("early_talk", "Connections on which the client spoke before its greeting, by whether it was refused", self.early_talk.clone());
        r.register("penalties", "Penalties for addresses, by kind", self.penalties.clone());
        r.register("sessions_crashed", "Sessions that were ended by a signal because of what their client sent", self.crashed.clone());
        r.register("stress", "Times that slots were nearly all taken", self.stress.clone());
        r.register("logins", "Attempts to log in, by mechanism and by what came of them", self.logins.clone());
        r.register("listed", "Connections of clients that DNS lists list, by what became of them", self.listed.clone());
        r.register("lists_left_out", "How often a DNS list was found to be of no use, by why", self.lists_left_out.clone());
        r.register("owned_sessions", "Sessions that did what our code never does", self.owned.clone());
        r.register("events_kept_back", "Events about one client that were neither written nor counted: too many", self.kept_back.clone());
        r.register("certificates_ending", "Days on which a certificate had less than a fortnight left, counted for each certificate", self.ending.clone());
        r.register("reloads", "Reloads since this observer was started, by what was read anew and by what came of it", self.reloads.clone());
        r.register("roles_ended", "Processes of roles that ended without being told to, by role", self.roles_ended.clone());
        r.register("log_lines", "Lines of free text, by role and level", self.lines.clone());
        r.register("log_lines_lost", "Lines that a role could not send", self.lost.clone());
        r.register_with_unit("transaction_duration", "From the first RCPT to the end, of transactions with a message that was taken", Unit::Seconds, self.took.clone());
        r.register_with_unit("backend_duration", "Waiting for the backend, in the same transactions", Unit::Seconds, self.backend.clone());
        let now = &self.now;
        r.register("sessions_now", "Sessions under way, by how far they are", now.stages.clone());
        r.register("slots", "Sessions that there may be at once", now.slots.clone());
        r.register("slots_used", "Slots that are taken", now.slots_used.clone());
        r.register("clients_waiting", "Clients that wait for a slot", now.waiting.clone());
        r.register("addresses_penalised", "Addresses that are greeted late or turned away", now.penalties.clone());
        r.register("backend_connections", "Connections to backends", now.connections.clone());
        r.register("backend_connections_max", "Connections to backends that there may be", now.connections_max.clone());
        r.register("backend_waiting", "Sessions that wait for a connection to a backend", now.connections_waiting.clone());
        r.register("roles_up", "Roles that serve", now.roles_up.clone());
        r.register("roles", "Roles that there should be", now.roles.clone());
        r.register("generations", "Generations of roles: more than one while sessions have an earlier configuration", now.generations.clone());
        r.register("backend_proved", "1: each backend has refused to relay for a stranger, or need not", now.proved.clone());
        r.register("names_answer", "1: a name server answers", now.names.clone());
        self
    }

    /// How much there is of what `who` counts. What is not its to tell is not believed.
    pub(crate) fn gauges(&mut self, who: &str, gauges: Gauges) {
        let now = &self.now;
        match gauges {
            Gauges::Listener { sessions, slots, waiting, penalties } if who == Role::Listener.name() => {
                now.slots_used.set(sessions.into());
                now.slots.set(slots.into());
                now.waiting.set(waiting.into());
                now.penalties.set(penalties.into());
            }
            Gauges::Handoff { idle, transaction, delivering, connections, connections_max, waiting }
                if who == Role::Handoff.name() =>
            {
                for (stage, count) in [("idle", idle), ("transaction", transaction), ("delivering", delivering)] {
                    now.stages.get_or_create(&vec![("phase", stage.to_owned())]).set(count.into());
                }
                now.connections.set(connections.into());
                now.connections_max.set(connections_max.into());
                now.connections_waiting.set(waiting.into());
            }
            Gauges::Launcher { roles_up, roles, generations, proved, names } if who == LAUNCHER => {
                now.roles_up.set(roles_up.into());
                now.roles.set(roles.into());
                now.generations.set(generations.into());
                now.proved.set(proved.into());
                now.names.set(names.into());
            }
            _ => {}
        }
    }

    /// A role or the launcher has told this. `messages` are counted once for all of their recipients.
    pub(crate) fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Recipient(event) => {
                let class = match event.reply {
                    200..=299 => "2yz",
                    400..=499 => "4yz",
                    500..=599 => "5yz",
                    _ => "none",
                };
                let labels = vec![("reply", class.to_owned()), ("reason", format!("{:?}", event.reason))];
                self.recipients.get_or_create(&labels).inc();
                if event.first && class == "2yz" {
                    self.messages.inc();
                    self.octets.inc_by(event.size);
                    self.took.observe(f64::from(event.took_ms) / 1000.0);
                    self.backend.observe(f64::from(event.backend_ms) / 1000.0);
                }
            }
            Event::Session(event) => count(&self.sessions, "end", format!("{:?}", event.end), 1),
            Event::Refused(event) => {
                let class = if event.reply < 500 { "4yz" } else { "5yz" };
                count(&self.refused, "reply", class.to_owned(), event.count.into());
            }
            Event::TurnedAway(event) => {
                count(&self.turned_away, "reason", format!("{:?}", event.why), event.count.into());
            }
            Event::EarlyTalk(event) => {
                count(&self.early_talk, "refused", event.refused.to_string(), event.count.into())
            }
            Event::Penalised(event) => count(&self.penalties, "kind", format!("{:?}", event.penalty), 1),
            Event::Crashed(_) => {
                self.crashed.inc();
            }
            Event::Stress(event) => {
                self.stress.inc_by(event.begins.into());
            }
            Event::LoginTried(event) => {
                let labels =
                    vec![("mechanism", event.mechanism.name().to_owned()), ("result", format!("{:?}", event.result))];
                self.logins.get_or_create(&labels).inc();
            }
            Event::ListedClient(event) => {
                count(&self.listed, "course", format!("{:?}", event.course), event.count.into());
            }
            Event::ListLeftOut(event) => count(&self.lists_left_out, "why", format!("{:?}", event.why), 1),
            Event::ListAnswers(_) => {}
            Event::Owned(_) => {
                self.owned.inc();
            }
            Event::CertificateEnds(_) => {
                self.ending.inc();
            }
            Event::Reloaded(event) => {
                self.reloads.get_or_create(&reload(event.what, TAKEN)).inc();
            }
            Event::NotReloaded(event) => {
                self.reloads.get_or_create(&reload(event.what, REFUSED)).inc();
            }
            Event::RoleEnded(event) => count(&self.roles_ended, "role", event.role.name().to_owned(), 1),
            Event::RoleServes(_) => {}
            Event::Kept(event) => {
                self.kept_back.inc_by(event.lines.into());
            }
        }
    }

    /// A line of free text.
    pub(crate) fn line(&mut self, who: &str, level: Level) {
        let labels = vec![("role", who.to_owned()), ("level", format!("{level:?}").to_ascii_lowercase())];
        self.lines.get_or_create(&labels).inc();
    }

    /// So many lines of this role were lost.
    pub(crate) fn lost(&mut self, who: &str, lines: u32) {
        if lines > 0 {
            count(&self.lost, "role", who.to_owned(), lines.into());
        }
    }

    /// All of it, in Prometheus' own text format.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to memory cannot fail.
        let _ = encode(&mut text, &self.registry);
        plain(&text)
    }
}

/// OpenMetrics, which the library writes, as Prometheus' own text format, which every reader and `promtool check metrics` knows: what is
/// said about a counter has its whole name, and units are in names alone. The last line is a comment there.
fn plain(text: &str) -> String {
    let counters: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut plain = String::with_capacity(text.len());
    for line in text.lines().filter(|line| !line.starts_with("# UNIT ")) {
        let about = ["# HELP ", "# TYPE "]
            .into_iter()
            .find_map(|about| Some((about, line.strip_prefix(about)?.split_once(' ')?)));
        match about.filter(|(_, (name, _))| counters.contains(name)) {
            Some((about, (name, said))) => plain.extend([about, name, "_total ", said]),
            None => plain.push_str(line),
        }
        plain.push('\n');
    }
    plain
}

/// Labels of a reload.
fn reload(what: Renewed, result: &str) -> Labels {
    vec![("what", format!("{what:?}").to_ascii_lowercase()), ("result", result.to_owned())]
}

fn count(counters: &Counters, label: &'static str, value: String, by: u64) {
    counters.get_or_create(&vec![(label, value)]).inc_by(by);
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_smtp::envelope::{CloseReason, Reason};
    use gatepost_wire::event::{Kept, Recipient, Refused, Session, Turned, TurnedAway};
    use gatepost_wire::link::SessionId;
    use std::path::Path;

    fn recipient(first: bool, reply: u16, reason: Reason) -> Event<'static> {
        Recipient {
            session: SessionId(1),
            transaction: 1,
            first,
            client: "192.0.2.1:25".parse().unwrap(),
            name: None,
            no_name: None,
            login: None,
            helo: b"h",
            from: b"",
            to: b"a@b",
            size: 1000,
            tls: None,
            message_id: None,
            reply,
            enhanced: (2, 0, 0),
            reason,
            heard: b"",
            backend: reply,
            said: None,
            failure: None,
            took_ms: 50,
            client_ms: 29,
            backend_ms: 20,
        }
        .into()
    }

    /// The names of counters in a text.
    fn named(text: &str) -> BTreeSet<String> {
        let word = |octet: char| !(octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == '_');
        text.split(word).filter(|name| name.starts_with("gatepost_")).map(str::to_owned).collect()
    }

    #[test]
    fn issue_13_dashboard_and_alerts_ask_for_what_there_is() {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        let read = |name: &str| std::fs::read_to_string(examples.join(name)).unwrap();
        let text = filled().text();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let there: BTreeSet<String> = types
            .flat_map(|(name, kind)| match kind {
                "histogram" => ["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")).to_vec(),
                _ => vec![name.to_owned()],
            })
            .collect();
        let dashboard: serde_json::Value = serde_json::from_str(&read("grafana/gatepost.json")).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let asked = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
        let asked: BTreeSet<String> = asked.flat_map(|target| named(target["expr"].as_str().unwrap())).collect();
        let missing: Vec<_> = asked.difference(&there).collect();
        assert_eq!(missing, Vec::<&String>::new(), "the dashboard asks for these");
        assert!(panels.len() > 10 && asked.len() > 20);
        let alerts = named(&read("prometheus/gatepost.rules.yml"));
        assert_eq!(alerts.difference(&there).collect::<Vec<_>>(), Vec::<&String>::new(), "the alerts ask for these");
    }

    /// Each counter has counted something: a family without members isn't shown.
    fn filled() -> Counts {
        let client = "192.0.2.1:25".parse().unwrap();
        let (session, enhanced) = (SessionId(1), (5, 5, 2));
        let mut counts = Counts::new();
        for event in [
            recipient(true, 250, Reason::Ok),
            recipient(false, 250, Reason::Ok),
            recipient(true, 550, Reason::RelayDenied),
            Session {
                session,
                client,
                name: None,
                no_name: None,
                transactions: 1,
                messages: 1,
                end: CloseReason::Quit,
                why: None,
                seconds: 1,
            }
            .into(),
            Refused { session, client, reply: 501, enhanced, heard: b"", count: 1, line: b"" }.into(),
            TurnedAway { client, why: Turned::Full, count: 7 }.into(),
            Kept { client: client.ip(), lines: 9 }.into(),
        ] {
            counts.event(&event);
        }
        counts.gauges("listener", Gauges::Listener { sessions: 3, slots: 100, waiting: 1, penalties: 2 });
        // No other role's word counts for it.
        counts.gauges("handoff", Gauges::Listener { sessions: 9, slots: 9, waiting: 9, penalties: 9 });
        let (connections, connections_max, waiting) = (4, 80, 0);
        counts.gauges(
            "handoff",
            Gauges::Handoff { idle: 1, transaction: 2, delivering: 0, connections, connections_max, waiting },
        );
        counts.line("handoff", Level::Error);
        counts.lost("handoff", 3);
        counts.lost("listener", 0);
        counts
    }

    #[test]
    fn issue_13_what_is_told_is_counted_and_a_message_once() {
        let text = filled().text();
        for line in [
            "gatepost_messages_total 1",
            "gatepost_content_bytes_total 1000",
            "gatepost_recipients_total{reply=\"2yz\",reason=\"Ok\"} 2",
            "gatepost_recipients_total{reply=\"5yz\",reason=\"RelayDenied\"} 1",
            "gatepost_sessions_total{end=\"Quit\"} 1",
            "gatepost_commands_refused_total{reply=\"5yz\"} 1",
            "gatepost_connections_turned_away_total{reason=\"Full\"} 7",
            "gatepost_events_kept_back_total 9",
            "gatepost_log_lines_total{role=\"handoff\",level=\"error\"} 1",
            "gatepost_log_lines_lost_total{role=\"handoff\"} 3",
            "gatepost_transaction_duration_seconds_bucket{le=\"0.1\"} 1",
            "gatepost_backend_duration_seconds_bucket{le=\"0.01\"} 0",
            "gatepost_slots_used 3",
            "gatepost_sessions_now{phase=\"transaction\"} 2",
            "gatepost_backend_connections_max 80",
            "# EOF",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
        assert!(!text.contains("192.0.2.1") && !text.contains("lines_lost_total{role=\"listener\"}"), "{text}");
    }
}
