//! Start, restart and drain, without root and without a clock: the processes are a fake that writes down what is done.

mod end;
mod scene;

use super::phases::{JAIL_DEADLINE, READY_DEADLINE};
use super::*;
use scene::{Scene, sorted};

const NOW: Duration = Duration::from_secs(1);

#[test]
fn issue_8_a_stage_is_started_when_the_one_before_is_ready() {
    let mut scene = Scene::new(&Role::ALL, Proof::Later);
    let stages: [&[&str]; 4] = [
        &["observer"],
        &["receiver", "queue", "checker", "dialer", "resolver"],
        &["keyholder", "auth", "handoff"],
        &["nursery", "listener"],
    ];
    for stage in stages {
        assert!(!scene.generation.advance(scene.now).unwrap());
        let started: Vec<String> = stage.iter().map(|name| format!("start {name}")).collect();
        assert_eq!(scene.done(), started);
        for name in stage {
            scene.reports(name, Report::Jailed);
        }
        let done = scene.done();
        assert!(!done.contains(&"sockets listener".to_owned()), "no client before all are ready");
        for name in stage {
            let order = [format!("look {name}"), format!("go {name}")].map(|line| done.iter().position(|l| *l == line));
            assert!(order[0].is_some() && order[0] < order[1], "{done:?}");
        }
        assert!(!scene.generation.advance(scene.now).unwrap(), "{stage:?} is not ready yet");
        for name in stage {
            scene.reports(name, Report::Ready);
        }
    }
    assert!(scene.generation.advance(scene.now).unwrap());
    assert_eq!(scene.done(), [""; 0]);
    scene.generation.serve();
    assert_eq!(scene.done(), ["sockets listener"]);
}

#[test]
fn only_roles_that_are_needed_are_started() {
    let mut scene = Scene::new(&[Role::Listener, Role::Handoff], Proof::Later);
    assert!(!scene.generation.advance(scene.now).unwrap());
    assert_eq!(scene.done(), ["start handoff"]);
}

#[test]
fn issue_8_a_role_that_served_is_started_at_once_and_linked_with_its_peers() {
    for (role, done) in [
        ("queue", &["go queue2", "link queue2 handoff", "link queue2 observer", "look queue2"][..]),
        ("checker", &["go checker2", "link checker2 auth", "link checker2 observer", "look checker2"]),
        ("receiver", &["go receiver2", "link receiver2 observer", "look receiver2"]),
        (
            "keyholder",
            &[
                "go keyholder2",
                "link keyholder2 handoff",
                "link keyholder2 listener",
                "link keyholder2 observer",
                "look keyholder2",
            ],
        ),
        (
            "auth",
            &[
                "go auth2",
                "link auth2 checker",
                "link auth2 dialer",
                "link auth2 handoff",
                "link auth2 listener",
                "link auth2 observer",
                "look auth2",
            ],
        ),
        (
            "resolver",
            &[
                "go resolver2",
                "link resolver2 handoff",
                "link resolver2 listener",
                "link resolver2 observer",
                "look resolver2",
            ],
        ),
        (
            "dialer",
            &["go dialer2", "link dialer2 auth", "link dialer2 handoff", "link dialer2 observer", "look dialer2"],
        ),
        (
            "handoff",
            &[
                "go handoff2",
                "link handoff2 auth",
                "link handoff2 dialer",
                "link handoff2 keyholder",
                "link handoff2 listener",
                "link handoff2 observer",
                "link handoff2 queue",
                "link handoff2 resolver",
                "look handoff2",
            ],
        ),
        ("nursery", &["go nursery2", "link nursery2 listener", "link nursery2 observer", "look nursery2"]),
        (
            "listener",
            &[
                "go listener2",
                "link listener2 auth",
                "link listener2 handoff",
                "link listener2 keyholder",
                "link listener2 nursery",
                "link listener2 observer",
                "link listener2 resolver",
                "look listener2",
                "sockets listener2",
            ],
        ),
    ] {
        let mut scene = Scene::serving();
        scene.ends(&[role]);
        assert_eq!(scene.done(), [format!("start {role}2")], "{role}");
        scene.reports(&format!("{role}2"), Report::Jailed);
        let linked = scene.done();
        assert_eq!(linked.last().unwrap(), &format!("go {role}2"), "links come first");
        assert_eq!(sorted(linked), done, "{role}");
    }
}

#[test]
fn issue_8_a_role_that_is_not_jailed_yet_is_linked_when_it_is() {
    let mut scene = Scene::serving();
    scene.ends(&["handoff", "queue"]);
    scene.reports("queue2", Report::Jailed);
    assert!(!scene.done().contains(&"link queue2 handoff".to_owned()), "that peer is not there");
    scene.reports("handoff2", Report::Jailed);
    assert!(scene.done().contains(&"link handoff2 queue2".to_owned()));
}

#[test]
fn issue_8_a_role_that_fails_to_get_ready_is_started_later_and_later() {
    let mut scene = Scene::serving();
    scene.ends(&["keyholder"]);
    let mut last = "keyholder2".to_owned();
    for (failures, delay) in
        [(1, 200), (2, 400), (3, 800), (4, 1600), (5, 3200), (6, 6400), (7, 12800), (8, 25600), (9, 30000)]
    {
        scene.ends(&[&last]);
        scene.done();
        let delay = Duration::from_millis(delay);
        assert_eq!(scene.generation.next_due(), Some(scene.now + delay), "{failures}");
        scene.passes(delay - Duration::from_millis(1));
        assert_eq!(scene.done(), [""; 0], "too early");
        scene.passes(Duration::from_millis(1));
        last = format!("keyholder{}", failures + 2);
        assert_eq!(scene.done(), [format!("start {last}")]);
    }
    // Once it has served all is forgiven.
    scene.reports(&last, Report::Jailed);
    scene.reports(&last, Report::Ready);
    scene.ends(&[&last]);
    assert!(scene.done().contains(&"start keyholder12".to_owned()));
}

#[test]
fn a_role_that_cannot_be_executed_is_tried_again() {
    let mut scene = Scene::serving();
    scene.generation.processes.broken = Some(Role::Handoff);
    scene.ends(&["handoff"]);
    assert_eq!(scene.done(), [""; 0]);
    scene.generation.processes.broken = None;
    scene.passes(NOW);
    assert_eq!(scene.done(), ["start handoff2"]);
}

#[test]
fn p8_a_crash_replaces_the_nursery_and_its_sessions_go_on() {
    let mut scene = Scene::serving();
    scene.reports("nursery", Report::SessionCrashed);
    assert_eq!(scene.done(), ["start nursery2"]);
    scene.reports("nursery2", Report::Jailed);
    assert_eq!(scene.done(), ["look nursery2", "link nursery2 listener", "link nursery2 observer", "go nursery2"]);
    scene.ends(&["listener"]);
    scene.reports("listener2", Report::Jailed);
    let links: Vec<String> = scene.done().into_iter().filter(|line| line.contains("nursery")).collect();
    assert_eq!(links, ["link listener2 nursery2"]);
    // What the old one reports changes nothing, and its end neither; but a drain waits for it.
    scene.reports("nursery", Report::SessionCrashed);
    assert_eq!(scene.done(), [""; 0]);
    scene.generation.drain();
    assert_eq!(sorted(scene.done()), ["close sockets", "drain listener2", "drain nursery", "drain nursery2"]);
    scene.ends(&["listener2", "nursery2"]);
    assert_eq!(scene.done(), [""; 0]);
    scene.ends(&["nursery"]);
    assert_eq!(sorted(scene.done()), ["drain auth", "drain handoff", "drain keyholder"]);
    // One that cannot be replaced stays, until it can.
    let mut scene = Scene::serving();
    scene.generation.processes.broken = Some(Role::Nursery);
    scene.reports("nursery", Report::SessionCrashed);
    scene.reports("nursery", Report::SessionCrashed);
    scene.passes(BACKOFF_FIRST);
    assert_eq!(scene.done(), [""; 0]);
    scene.generation.processes.broken = None;
    scene.passes(2 * BACKOFF_FIRST);
    assert_eq!(scene.done(), ["start nursery2"]);
    scene.ends(&["nursery"]);
    assert_eq!(scene.done(), [""; 0]);
}

#[test]
fn p8_crashes_on_purpose_do_not_gather_nurseries() {
    let mut scene = Scene::serving();
    let name = |number: usize| if number == 1 { "nursery".to_owned() } else { format!("nursery{number}") };
    for number in 1..=RETIRED_MAX + 3 {
        scene.passes(Duration::from_millis(1));
        scene.reports(&name(number), Report::SessionCrashed);
        let mut due = vec![format!("start {}", name(number + 1))];
        // `number` have been replaced, whose sessions all go on. The newest are left alone.
        due.extend((1..=number.saturating_sub(RETIRED_MAX)).map(|old| format!("kill {}", name(old))));
        let leaving = number.saturating_sub(RETIRED_MAX) + 1..=number.saturating_sub(RETIRED);
        due.extend(leaving.map(|old| format!("drain {}", name(old))));
        assert_eq!(sorted(scene.done()), sorted(due), "{number}");
        let next = name(number + 1);
        scene.reports(&next, Report::Jailed);
        scene.reports(&next, Report::Ready);
        scene.done();
    }
    // Those that end make room.
    let ended: Vec<String> = (1..=RETIRED_MAX).map(name).collect();
    scene.ends(&ended.iter().map(String::as_str).collect::<Vec<_>>());
    scene.reports(&name(RETIRED_MAX + 4), Report::SessionCrashed);
    assert_eq!(scene.done(), [format!("start {}", name(RETIRED_MAX + 5))]);
}

#[test]
fn p2_what_is_not_to_be_reported_ends_the_role() {
    let phases = [(Phase::Started, 0), (Phase::Going, 1), (Phase::Waiting, 2), (Phase::Ready, 3)];
    let permitted: [(Report, &[(&str, Phase)]); 4] = [
        (Report::Jailed, &[("handoff", Phase::Started), ("nursery", Phase::Started)]),
        (
            Report::Ready,
            &[
                ("handoff", Phase::Going),
                ("handoff", Phase::Waiting),
                ("nursery", Phase::Going),
                ("nursery", Phase::Waiting),
            ],
        ),
        (Report::Waiting, &[("handoff", Phase::Going)]),
        (Report::SessionCrashed, &[("nursery", Phase::Going), ("nursery", Phase::Waiting), ("nursery", Phase::Ready)]),
    ];
    for (report, good) in permitted {
        for name in ["handoff", "nursery"] {
            for (phase, _) in phases {
                let mut scene = Scene::serving();
                let (pid, now) = (scene.pid(name), scene.now);
                scene.generation.set_phase(pid, phase, now);
                scene.reports(name, report);
                let killed = scene.done().contains(&format!("kill {name}"));
                assert_eq!(killed, !good.contains(&(name, phase)), "{name} {phase:?} {report:?}");
            }
        }
    }
    let mut scene = Scene::serving();
    scene.happens("listener", Event::Broken("two messages".into())).unwrap();
    assert_eq!(scene.done(), ["kill listener"]);
}

#[test]
fn p7_a_role_that_is_confined_less_than_it_must_be_does_not_go() {
    let weak = Seen::Weak(vec!["Uid must be not 0".into()]);
    let mut scene = Scene::new(&[Role::Handoff], Proof::Later);
    assert!(!scene.generation.advance(scene.now).unwrap());
    scene.generation.processes.seen = Some(weak.clone());
    let said = scene.happens("handoff", Event::Report(Report::Jailed)).unwrap_err();
    assert!(matches!(said, LauncherError::Weak(Role::Handoff, _)), "{said}");
    assert_eq!(scene.done(), ["start handoff", "look handoff", "kill handoff"]);
    // One that was restarted is tried again; one that was killed while it was looked at is none of these.
    let mut scene = Scene::serving();
    scene.ends(&["handoff"]);
    for (seen, is_error) in [(weak, true), (Seen::Gone, false)] {
        scene.done();
        scene.generation.processes.seen = Some(seen);
        let last = scene.generation.processes.names.last().unwrap().1.clone();
        assert_eq!(scene.happens(&last, Event::Report(Report::Jailed)).is_err(), is_error);
        assert_eq!(scene.done(), [format!("look {last}"), format!("kill {last}")]);
        scene.ends(&[&last]);
        scene.passes(NOW);
        assert!(scene.done().last().unwrap().starts_with("start handoff"));
    }
}

#[test]
fn a_start_fails_with_the_first_role_that_ends_or_is_late() {
    let start = || {
        let mut scene = Scene::new(&[Role::Keyholder], Proof::Later);
        assert!(!scene.generation.advance(scene.now).unwrap());
        scene
    };
    let mut scene = start();
    let said = scene.happens("keyholder", Event::Ended(End::Exit(1))).unwrap_err().to_string();
    assert!(said.contains("keyholder did not get ready: it ended with status 1"), "{said}");
    for (jailed, limit) in [(false, JAIL_DEADLINE), (true, READY_DEADLINE)] {
        let mut scene = start();
        if jailed {
            scene.reports("keyholder", Report::Jailed);
        }
        assert!(!scene.generation.advance(scene.now + limit).unwrap());
        assert!(scene.generation.advance(scene.now + limit + NOW).is_err());
    }
    let mut scene = Scene::new(&[Role::Keyholder], Proof::Later);
    scene.generation.processes.broken = Some(Role::Keyholder);
    assert!(scene.generation.advance(scene.now).is_err());
}

#[test]
fn a_role_that_is_stuck_is_ended_and_one_that_serves_is_not() {
    let mut scene = Scene::serving();
    scene.ends(&["handoff", "queue"]);
    scene.reports("queue2", Report::Jailed);
    scene.done();
    scene.passes(JAIL_DEADLINE + NOW);
    assert_eq!(scene.done(), ["kill handoff2"]);
    scene.ends(&["handoff2"]);
    scene.passes(READY_DEADLINE - JAIL_DEADLINE);
    assert!(scene.done().contains(&"kill queue2".to_owned()));
}

#[test]
fn issue_9_a_role_that_does_not_answer_is_replaced() {
    for silent in ["handoff", "listener", "nursery", "observer", "keyholder", "dialer"] {
        let mut scene = Scene { pings: true, ..Scene::serving() };
        scene.passes(NOW);
        assert_eq!(scene.done(), [""; 0], "not yet");
        scene.passes(PING_EVERY);
        let asked = scene.done();
        assert_eq!(asked.iter().filter(|line| line.starts_with("ping ")).count(), Role::ALL.len(), "{asked:?}");
        let answer = |scene: &mut Scene, asked: Vec<String>| {
            for name in asked.iter().filter_map(|line| line.strip_prefix("ping ")).filter(|name| *name != silent) {
                scene.reports(name, Report::Alive);
            }
        };
        answer(&mut scene, asked);
        // Who owes an answer is not asked again, and the others go on.
        for _ in 0..2 {
            scene.passes(PING_EVERY);
            let asked = scene.done();
            assert!(!asked.contains(&format!("ping {silent}")) && asked.len() == Role::ALL.len() - 1, "{asked:?}");
            assert!(scene.generation.is_alive());
            answer(&mut scene, asked);
        }
        scene.passes(PING_EVERY);
        assert!(scene.done().contains(&format!("kill {silent}")));
        assert!(!scene.generation.is_alive(), "until it has ended");
        scene.passes(NOW);
        assert_eq!(scene.done(), [""; 0], "once is enough");
        scene.ends(&[silent]);
        assert!(scene.generation.is_alive());
        assert_eq!(scene.done(), [format!("start {silent}2")]);
        // The new one is asked when it serves.
        let new = format!("{silent}2");
        scene.passes(PING_EVERY);
        assert!(!scene.done().contains(&format!("ping {new}")));
        scene.reports(&new, Report::Jailed);
        scene.reports(&new, Report::Ready);
        scene.passes(PING_EVERY);
        assert!(scene.done().contains(&format!("ping {new}")));
    }
}

#[test]
fn p2_an_answer_that_was_not_asked_for_ends_the_role() {
    let mut scene = Scene::serving();
    scene.reports("handoff", Report::Alive);
    assert_eq!(scene.done(), ["kill handoff"]);
    // One that is drained may still answer what it was asked before.
    let mut scene = Scene { pings: true, ..Scene::serving() };
    scene.passes(NOW);
    scene.passes(PING_EVERY);
    scene.generation.drain();
    scene.done();
    scene.reports("handoff", Report::Alive);
    assert_eq!(scene.done(), [""; 0]);
}

#[test]
fn issue_9_a_listener_whose_sockets_are_dead_is_replaced() {
    let mut scene = Scene::serving();
    scene.passes(NOW);
    assert_eq!(scene.done(), [""; 0]);
    scene.generation.processes.dead = true;
    scene.passes(NOW);
    assert_eq!(scene.done(), ["kill listener"]);
    scene.ends(&["listener"]);
    assert_eq!(scene.done(), ["start listener2"]);
    // What the first one did at last is not laid to the second one.
    scene.generation.processes.dead = true;
    scene.reports("listener2", Report::Jailed);
    assert!(scene.done().contains(&"sockets listener2".to_owned()));
    scene.reports("listener2", Report::Ready);
    assert_eq!(scene.done(), [""; 0]);
    // One that drains has no sockets that are watched here: the next generation does.
    scene.generation.drain();
    scene.done();
    scene.generation.processes.dead = true;
    scene.passes(NOW);
    assert_eq!(scene.done(), [""; 0]);
}

#[test]
fn issue_12_that_names_do_not_work_is_a_state_and_no_reason_not_to_serve() {
    let mut scene = Scene::serving();
    assert!(scene.generation.has_names());
    for (report, names) in
        [(Report::NoNames, false), (Report::NoNames, false), (Report::Names, true), (Report::NoNames, false)]
    {
        scene.reports("resolver", report);
        assert_eq!((scene.generation.has_names(), scene.done()), (names, Vec::new()));
    }
    // A new one is asked anew.
    scene.ends(&["resolver"]);
    assert_eq!(scene.done(), ["start resolver2"]);
    scene.reports("resolver2", Report::Jailed);
    assert!(scene.generation.has_names());
    scene.reports("resolver2", Report::NoNames);
    scene.reports("resolver2", Report::Ready);
    assert!(!scene.generation.has_names() && scene.generation.is_serving());
    scene.done();
    // Nobody else has anything to say of it (P2).
    scene.reports("handoff", Report::Names);
    assert_eq!(scene.done(), ["kill handoff"]);
}

#[test]
fn issue_10_a_backend_that_cannot_be_asked_is_waited_for_or_not() {
    let within = Duration::from_secs(3);
    for (proof, serves) in [(Proof::Later, true), (Proof::Within(within), false)] {
        let mut scene = Scene::new(&[Role::Handoff], proof);
        assert!(!scene.generation.advance(scene.now).unwrap());
        scene.reports("handoff", Report::Jailed);
        scene.reports("handoff", Report::Waiting);
        assert_eq!(scene.generation.advance(scene.now).unwrap(), serves);
        assert_eq!(scene.generation.unproved(), MAIN);
        assert_eq!(scene.generation.advance(scene.now + within).is_err(), !serves);
        scene.reports("handoff", Report::Ready);
        assert!(scene.generation.advance(scene.now).unwrap() && scene.generation.unproved() == 0);
    }
    // That of a route is waited for by nobody, and known.
    let mut scene = Scene::new(&[Role::Handoff], Proof::Within(within));
    assert!(!scene.generation.advance(scene.now).unwrap());
    scene.reports("handoff", Report::Jailed);
    scene.reports("handoff", Report::Unproved(0b11));
    scene.reports("handoff", Report::Waiting);
    assert!(!scene.generation.advance(scene.now).unwrap() && scene.generation.has_logins());
    scene.reports("handoff", Report::NoLogins);
    assert!(!scene.generation.has_logins());
    scene.reports("handoff", Report::Unproved(0b10));
    assert!(scene.generation.advance(scene.now).unwrap());
    assert_eq!(scene.generation.unproved(), 0b10);
    scene.reports("handoff", Report::Ready);
    assert_eq!(scene.generation.unproved(), 0);
    for (end, refused) in [(End::Exit(1), true), (End::Signal(9), false)] {
        let mut scene = Scene::new(&[Role::Handoff], Proof::Later);
        assert!(!scene.generation.advance(scene.now).unwrap());
        scene.reports("handoff", Report::Jailed);
        scene.reports("handoff", Report::Waiting);
        scene.generation.serve();
        scene.happens("handoff", Event::Ended(end)).unwrap();
        assert_eq!(scene.generation.refusal().is_some(), refused);
    }
}

#[test]
fn every_role_has_one_row_in_the_table() {
    for role in Role::ALL {
        assert_eq!(roles::of(role).role, role);
    }
    // A role is started no later than who needs it: a link leads to the same stage or an earlier one.
    for (one, other) in gatepost_role::LINKS {
        assert!(roles::of(*one).stage >= roles::of(*other).stage, "{one:?} {other:?}");
    }
}
