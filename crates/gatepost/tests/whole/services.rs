//! `gatepost serve` by the run scripts of `examples/services` under each supervisor, and by the init script.

use crate::gate::{CONFIG, GATEPOST, config, prepare, rogue, starttls};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, Host, source_tree};
use gatepost_testkit::rogue::{Mta, Speaks};
use gatepost_testkit::run::{Ended, signal};
use gatepost_testkit::supervisor::{LINKS, Supervisor};
use gatepost_testkit::wait::{SOON, holds};
use std::fs;

const INIT: &str = "/etc/init.d/gatepost";
const PIDFILE: &str = "/run/gatepost.pid";

/// Configuration and backend, and the program where scripts find it.
fn install(host: &Host) -> Mta {
    prepare(host);
    let (mta, backend) = rogue(host, Speaks::Smtp);
    host.write(CONFIG, &config(&backend, ""));
    host.shell(&format!("mkdir -p {LINKS} && ln -s {GATEPOST} {LINKS}/gatepost")).expect_ok("link");
    mta
}

fn greeted(host: &Host) {
    let mut client = Client::over(host.connect(&starttls()));
    client.hello("road.test");
    client.ask("QUIT", 221);
}

#[test]
fn issue_11_serve_runs_under_each_supervisor() {
    for supervisor in Supervisor::ALL {
        let Some(host) = host::for_test("issue_11_serve_runs_under_each_supervisor", &Supervisor::NEEDS) else {
            return;
        };
        let _backend = install(&host);
        supervisor.install(&host, "gatepost");
        let mut scanner = supervisor.start(&host);
        let said = |words: &str| supervisor.log(&host, "gatepost").matches(words).count();
        let control = |letter| supervisor.control(&host, letter, "gatepost").expect_ok("control");
        holds("it to be ready", SOON, || said("launcher: ready") == 1);
        greeted(&host);
        control('h');
        holds("it to be reloaded", SOON, || said("launcher: reloaded") == 1);
        control('t');
        holds("it to be started anew", SOON, || said("launcher: ready") == 2);
        greeted(&host);
        control('d');
        holds("it to be down", SOON, || host.shell("pgrep -x gatepost; pgrep ^gp-").stdout.is_empty());
        assert!(scanner.ended().is_none(), "{}", scanner.said());
    }
}

/// The init script on a host.
struct Script<'h>(&'h Host);

impl Script<'_> {
    fn run(&self, argument: &str) -> Ended {
        // Nothing of the environment but what init gives; the script's own PATH finds gatepost by the admin's file.
        self.0.shell(&format!("env -i {INIT} {argument}"))
    }

    fn status(&self, argument: &str) -> Option<i32> {
        self.run(argument).status.code()
    }

    /// The process of the file.
    fn pid(&self) -> u32 {
        self.0.read(PIDFILE).split_whitespace().next().unwrap().parse().unwrap()
    }

    fn launchers(&self) -> usize {
        self.0.shell("pgrep -x gatepost").stdout.lines().count()
    }
}

fn with_script(test: &str) -> Option<(Host, Mta)> {
    let host = host::for_test(test, &["flock", "setsid"])?;
    let backend = install(&host);
    let text = fs::read_to_string(source_tree().join("examples/services/init.d")).unwrap();
    host.write_with(INIT, &text, 0o755);
    host.write("/etc/default/gatepost", &format!("PATH={LINKS}:$PATH\n"));
    Some((host, backend))
}

#[test]
fn issue_11_the_init_script_starts_one_and_ends_the_one_that_it_started() {
    let Some((host, _backend)) = with_script("issue_11_the_init_script_starts_one_and_ends_the_one_that_it_started")
    else {
        return;
    };
    let script = Script(&host);
    // LSB: 3 is "not running", 0 for a stop of what doesn't run, 7 for a reload of it.
    assert_eq!(["status", "stop", "reload", "nonsense"].map(|word| script.status(word)), [3, 0, 7, 2].map(Some));
    // Two at the same time: it is ready when either returns, and there is one.
    let started = host.shell(&format!("env -i {INIT} start & env -i {INIT} start && wait $!")).expect_ok("start");
    greeted(&host);
    assert_eq!((script.launchers(), script.status("status")), (1, Some(0)), "{}", started.said());
    let first = script.pid();
    assert_eq!((script.status("start"), script.pid()), (Some(0), first), "what runs stays");
    // HUP, by both names.
    for (times, word) in [(1, "reload"), (2, "force-reload")] {
        script.run(word).expect_ok(word);
        let reloaded = || host.read("/var/log/gatepost.log").matches("launcher: reloaded").count() == times;
        holds("it to be reloaded", SOON, reloaded);
    }
    script.run("restart").expect_ok("restart");
    greeted(&host);
    assert_eq!((script.launchers(), script.status("status")), (1, Some(0)));
    assert_ne!(script.pid(), first);
    // When it returns, all of it has ended: not only the launcher.
    script.run("stop").expect_ok("stop");
    assert_eq!(host.shell("pgrep -x gatepost; pgrep ^gp-").stdout, "");
    assert_eq!((host.read(PIDFILE).as_str(), script.status("status")), ("", Some(3)));
    assert!(!host.listens(&starttls()));
}

#[test]
fn issue_11_the_init_script_takes_no_other_process_for_gatepost() {
    let Some((host, _backend)) = with_script("issue_11_the_init_script_takes_no_other_process_for_gatepost") else {
        return;
    };
    let script = Script(&host);
    script.run("start").expect_ok("start");
    // Somebody else's process with the number of the file, as after a crash and some time: another start.
    let mut other = host.start("other", host.command("sleep").arg("600"));
    let number = host.shell("pgrep -x sleep").stdout.trim().to_owned();
    let since = host.read(PIDFILE).split_whitespace().nth(1).unwrap().to_owned();
    let launcher = script.pid();
    host.shell(&format!("kill -KILL {launcher}")).expect_ok("kill");
    holds("all of it to end", SOON, || host.shell("pgrep -x gatepost; pgrep ^gp-").stdout.is_empty());
    host.write(PIDFILE, &format!("{number} {since}\n"));
    // 1: not running, and the file is left.
    assert_eq!(script.status("status"), Some(1));
    script.run("start").expect_ok("start");
    assert_eq!((script.launchers(), script.status("status")), (1, Some(0)));
    host.write(PIDFILE, &format!("{number} 1\n"));
    assert_eq!(script.status("stop"), Some(0));
    assert!(other.ended().is_none(), "it has ended another's process");
    let _ = signal(other.pid(), "KILL");
}

#[test]
fn issue_11_the_init_script_says_why_it_does_not_start() {
    let Some((host, _backend)) = with_script("issue_11_the_init_script_says_why_it_does_not_start") else { return };
    host.write(CONFIG, "hostname = 5\n");
    let ended = Script(&host).run("start");
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("hostname"), "{}", ended.said());
    assert_eq!(Script(&host).status("status"), Some(3));
}
