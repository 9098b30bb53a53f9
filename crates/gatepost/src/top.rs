//! `gatepost top`: what the running gatepost does now, from what its launcher and its observer say to an admin.
//!
//! Rates and times are of the last interval: two looks, one subtracted from the other. Plain ANSI, nothing else is asked of the terminal.

use gatepost_launcher::admin::{self, Request};
use gatepost_log::json_string;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Rows of each list that are shown.
const ROWS: usize = 8;
/// Ticks of a second in /proc/PID/stat: USER_HZ, 100 on every Linux that we run on.
const TICKS: f64 = 100.0;
/// Clears the screen, and goes to its corner.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// A role's process.
#[derive(Debug, Clone, PartialEq)]
struct RoleRow {
    name: String,
    /// 0: it is away.
    pid: u32,
    /// KiB of memory that no file backs and that is in use.
    memory: u64,
    /// Ticks that it has run.
    ticks: u64,
}

/// What there was to see at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Look {
    roles: Vec<RoleRow>,
    /// Samples by name with labels, as the observer writes them.
    samples: BTreeMap<String, f64>,
    worst: Vec<(String, u64)>,
}

impl Look {
    /// From the lines of the answer. What is none of ours is left out.
    fn read(text: &str, process: impl Fn(u32) -> (u64, u64)) -> Self {
        let mut look = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.rsplitn(2, ' ');
            let (Some(value), Some(name)) = (words.next(), words.next()) else { continue };
            match name.split_once(' ') {
                Some(("role", name)) => {
                    let pid = value.parse().unwrap_or_default();
                    let (memory, ticks) = process(pid);
                    look.roles.push(RoleRow { name: name.to_owned(), pid, memory, ticks });
                }
                Some(("worst", address)) => look.worst.push((address.to_owned(), value.parse().unwrap_or_default())),
                _ => {
                    if let Ok(value) = value.parse() {
                        look.samples.insert(name.to_owned(), value);
                    }
                }
            }
        }
        look
    }

    fn value(&self, name: &str) -> f64 {
        self.samples.get(name).copied().unwrap_or_default()
    }

    /// All samples of a family with one label: the label's words after the name, and the value.
    fn family<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.samples.iter().filter_map(move |(sample, value)| {
            Some((sample.strip_prefix(name)?.strip_prefix('{')?.strip_suffix('}')?, *value))
        })
    }
}

/// Two moments and the time between them.
pub(crate) struct Span<'a> {
    before: &'a Look,
    now: &'a Look,
    seconds: f64,
}

impl Span<'_> {
    /// By how much a counter has grown; from nothing where it has begun anew, as after a reload.
    fn grown(&self, name: &str) -> f64 {
        let (before, now) = (self.before.value(name), self.now.value(name));
        if now < before { now } else { now - before }
    }

    fn rate(&self, name: &str) -> f64 {
        if self.seconds > 0.0 { self.grown(name) / self.seconds } else { 0.0 }
    }

    fn sum(&self, family: &str) -> f64 {
        let all = self.now.family(family).map(|(labels, _)| self.rate(&format!("{family}{{{labels}}}")));
        // The sum of nothing is -0.0, which would be shown so.
        all.fold(0.0, |sum, rate| sum + rate)
    }

    /// Mean seconds of what was timed in between; where nothing was, since the beginning.
    fn mean(&self, name: &str) -> Option<f64> {
        let (sum, count) = (format!("{name}_sum"), format!("{name}_count"));
        let grown = (self.grown(&sum), self.grown(&count));
        let (sum, count) = if grown.1 > 0.0 { grown } else { (self.now.value(&sum), self.now.value(&count)) };
        (count > 0.0).then(|| sum / count)
    }

    /// What was refused, the most first: where, why, how often since the beginning.
    fn refused(&self) -> Vec<(&'static str, String, f64)> {
        let families = [
            ("recipient", "gatepost_recipients_total"),
            ("connection", "gatepost_connections_turned_away_total"),
            ("command", "gatepost_commands_refused_total"),
        ];
        let mut all: Vec<(&'static str, String, f64)> = Vec::new();
        for (what, family) in families {
            let refusals = self.now.family(family).filter(|(labels, _)| !labels.contains("2yz"));
            all.extend(refusals.map(|(labels, count)| (what, words(labels), count)));
        }
        all.sort_by(|a, b| b.2.total_cmp(&a.2));
        all.truncate(ROWS);
        all
    }

    /// Per cent of a processor that a role has used.
    fn load(&self, role: &RoleRow) -> f64 {
        let before = self.before.roles.iter().find(|before| before.pid == role.pid && before.pid != 0);
        let ticks = before.map_or(0, |before| role.ticks.saturating_sub(before.ticks));
        // Far below what a f64 has exactly.
        #[allow(clippy::cast_precision_loss)]
        if self.seconds > 0.0 { ticks as f64 / TICKS / self.seconds * 100.0 } else { 0.0 }
    }

    /// The values that both forms show, by name.
    fn values(&self) -> Vec<(&'static str, f64)> {
        let now = |name| self.now.value(name);
        vec![
            ("slots", now("gatepost_slots")),
            ("slots_used", now("gatepost_slots_used")),
            ("clients_waiting", now("gatepost_clients_waiting")),
            ("sessions_idle", now("gatepost_sessions_now{phase=\"idle\"}")),
            ("sessions_in_transaction", now("gatepost_sessions_now{phase=\"transaction\"}")),
            ("sessions_delivering", now("gatepost_sessions_now{phase=\"delivering\"}")),
            ("backend_connections", now("gatepost_backend_connections")),
            ("backend_connections_max", now("gatepost_backend_connections_max")),
            ("backend_waiting", now("gatepost_backend_waiting")),
            ("penalties", now("gatepost_addresses_penalised")),
            ("generations", now("gatepost_generations")),
            ("backend_proved", now("gatepost_backend_proved")),
            ("names_answer", now("gatepost_names_answer")),
            ("sessions_per_second", self.sum("gatepost_sessions_total")),
            ("messages_per_second", self.rate("gatepost_messages_total")),
            ("recipients_per_second", self.sum("gatepost_recipients_total")),
            ("turned_away_per_second", self.sum("gatepost_connections_turned_away_total")),
            ("octets_per_second", self.rate("gatepost_content_bytes_total")),
            ("transaction_seconds", self.mean("gatepost_transaction_duration_seconds").unwrap_or_default()),
            ("backend_seconds", self.mean("gatepost_backend_duration_seconds").unwrap_or_default()),
        ]
    }

    /// For people: 80 columns.
    fn screen(&self) -> String {
        let values: BTreeMap<&str, f64> = self.values().into_iter().collect();
        let of = |name: &str| values.get(name).copied().unwrap_or_default();
        let word = |name: &str, yes: &'static str, no: &'static str| if of(name) > 0.0 { yes } else { no };
        let mut out = String::new();
        // Writing to memory cannot fail.
        let _ = write!(
            out,
            "slots     {:.0} of {:.0} taken, {:.0} waiting; sessions: {:.0} idle, {:.0} in a transaction, {:.0} delivering\n\
             backend   {:.0} of {:.0} connections, {:.0} waiting; {}; names: {}\n\
             rates/s   {:.1} sessions, {:.1} messages, {:.1} recipients, {:.1} turned away, {:.0} octets\n\
             time      {:.1} ms a message, of which the backend {:.1} ms\n\
             penalties {:.0} addresses; generations: {:.0}\n",
            of("slots_used"),
            of("slots"),
            of("clients_waiting"),
            of("sessions_idle"),
            of("sessions_in_transaction"),
            of("sessions_delivering"),
            of("backend_connections"),
            of("backend_connections_max"),
            of("backend_waiting"),
            word("backend_proved", "ready", "not proved yet"),
            word("names_answer", "answer", "no answer"),
            of("sessions_per_second"),
            of("messages_per_second"),
            of("recipients_per_second"),
            of("turned_away_per_second"),
            of("octets_per_second"),
            of("transaction_seconds") * 1000.0,
            of("backend_seconds") * 1000.0,
            of("penalties"),
            of("generations"),
        );
        let _ = writeln!(out, "\n{:<12} {:>8} {:>10} {:>6}", "role", "pid", "memory KiB", "cpu %");
        for role in &self.now.roles {
            let pid = if role.pid == 0 { "AWAY".to_owned() } else { role.pid.to_string() };
            let _ = writeln!(out, "{:<12} {pid:>8} {:>10} {:>6.1}", role.name, role.memory, self.load(role));
        }
        let _ = writeln!(out, "\n{:>9}  refused", "count");
        for (what, why, count) in self.refused() {
            let _ = writeln!(out, "{count:>9.0}  {what}: {why}");
        }
        let _ = writeln!(out, "\n{:>9}  worst addresses", "count");
        for (address, count) in self.now.worst.iter().take(ROWS) {
            let _ = writeln!(out, "{count:>9}  {address}");
        }
        out
    }

    /// For scripts: one JSON object (RFC 8259).
    fn json(&self) -> String {
        let values = self.values().into_iter().map(|(name, value)| format!("\"{name}\":{value}"));
        let roles = self.now.roles.iter().map(|role| {
            let RoleRow { name, pid, memory, .. } = role;
            format!(
                "{{\"role\":{},\"pid\":{pid},\"memory_kib\":{memory},\"cpu_percent\":{:.1}}}",
                json_string(name),
                self.load(role)
            )
        });
        let refused = self.refused().into_iter();
        let refused = refused.map(|(what, why, count)| {
            format!("{{\"what\":{},\"why\":{},\"count\":{count}}}", json_string(what), json_string(&why))
        });
        let worst = self.now.worst.iter();
        let worst = worst.map(|(address, count)| format!("{{\"address\":{},\"count\":{count}}}", json_string(address)));
        let list = |items: Vec<String>| format!("[{}]", items.join(","));
        format!(
            "{{{},\"roles\":{},\"refused\":{},\"worst\":{}}}\n",
            values.collect::<Vec<_>>().join(","),
            list(roles.collect()),
            list(refused.collect()),
            list(worst.collect())
        )
    }
}

/// The values of labels, without what they are called: `reply="5yz",reason="RelayDenied"` is `5yz RelayDenied`.
fn words(labels: &str) -> String {
    let values: Vec<&str> = labels.split('"').skip(1).step_by(2).collect();
    values.join(" ")
}

/// Memory in KiB and ticks of a process by /proc; zeros where it cannot be seen.
fn process(pid: u32) -> (u64, u64) {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let status = read("status");
    let memory = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.split_whitespace().next()?.parse().ok());
    // After the name, which may hold anything: fields 14 and 15 of proc_pid_stat(5).
    let stat = read("stat");
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).fold(0, u64::saturating_add);
    (memory.unwrap_or_default(), ticks)
}

fn look() -> io::Result<Look> {
    Ok(Look::read(&admin::ask(Path::new(admin::SOCKET), Request::Look)?.text, process))
}

/// Shows what there is, once or again and again, until it is interrupted or the running gatepost is gone.
///
/// # Errors
/// Nobody answers, or nobody reads.
pub(crate) fn run(once: bool, json: bool, every: Duration) -> io::Result<()> {
    let mut before = (look()?, Instant::now());
    loop {
        // A rate needs two looks; who wants one picture does not wait for long.
        std::thread::sleep(if once { every.min(Duration::from_secs(1)) } else { every });
        let now = (look()?, Instant::now());
        let span =
            Span { before: &before.0, now: &now.0, seconds: now.1.saturating_duration_since(before.1).as_secs_f64() };
        let mut out = io::stdout().lock();
        if json {
            out.write_all(span.json().as_bytes())?;
        } else {
            let clear = if !once && out.is_terminal() { CLEAR } else { "" };
            write!(out, "{clear}{}", span.screen())?;
        }
        out.flush()?;
        if once {
            return Ok(());
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "role listener 7\nrole nursery 0\n# HELP x\ngatepost_slots 100\ngatepost_slots_used 3\n\
        gatepost_messages_total 10\ngatepost_recipients_total{reply=\"5yz\",reason=\"RelayDenied\"} 4\n\
        gatepost_recipients_total{reply=\"2yz\",reason=\"Ok\"} 10\ngatepost_backend_duration_seconds_sum 2.5\n\
        gatepost_backend_duration_seconds_count 10\n# EOF\nworst 192.0.2.9 17\n";

    #[test]
    fn issue_13_top_shows_rates_of_two_looks_and_json_is_json() {
        let first = Look::read(FIRST, |pid| (u64::from(pid), 10));
        let second = FIRST.replace("messages_total 10", "messages_total 30").replace("_sum 2.5", "_sum 4.5");
        let second = Look::read(&second.replace("_count 10", "_count 20"), |pid| (u64::from(pid), 110));
        let span = Span { before: &first, now: &second, seconds: 10.0 };
        let screen = span.screen();
        for words in [
            "3 of 100 taken",
            "2.0 messages",
            "the backend 200.0 ms",
            "0.0 turned away",
            " 0.0 sessions",
            "4  recipient: 5yz RelayDenied",
            "17  192.0.2.9",
            "AWAY",
            "10.0",
        ] {
            assert!(screen.contains(words), "{words}\n{screen}");
        }
        assert!(!screen.contains("2yz"), "{screen}");
        let json = span.json();
        for words in [
            "{\"slots\":100,",
            "\"messages_per_second\":2,",
            "{\"role\":\"listener\",\"pid\":7,\"memory_kib\":7,\"cpu_percent\":10.0}",
            "\"worst\":[{\"address\":\"192.0.2.9\",\"count\":17}]",
        ] {
            assert!(json.contains(words), "{words}\n{json}");
        }
    }

    #[test]
    fn json_is_json_whatever_words_it_gets() {
        let odd = "worst \u{1b}[2J\u{7f}\u{9b}\u{301}' 17\n# EOF\nrole \u{1b}\u{200b}x 7\n";
        let look =
            Look::read(&format!("{odd}gatepost_recipients_total{{reply=\"\u{1b}\",reason=\"\u{9b}\"}} 4\n"), |_| {
                (0, 0)
            });
        let json = Span { before: &look, now: &look, seconds: 1.0 }.json();
        let read: serde_json::Value = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{e}: {json}"));
        assert_eq!(read["worst"][0]["address"], "\u{1b}[2J\u{7f}\u{9b}\u{301}'", "{json}");
        assert_eq!(read["roles"][0]["role"], "\u{1b}\u{200b}x", "{json}");
        assert!(json.trim_end().chars().all(|c| !c.is_control()), "{json:?}");
    }

    #[test]
    fn issue_13_a_counter_that_begins_anew_is_no_negative_rate() {
        let (first, second) = (Look::read("x_total 100", |_| (0, 0)), Look::read("x_total 5", |_| (0, 0)));
        let span = Span { before: &first, now: &second, seconds: 1.0 };
        assert!((span.rate("x_total") - 5.0).abs() < 1e-9);
    }
}
