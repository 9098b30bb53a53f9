//! Drained, retired, or left by an earlier program.

use super::*;
use scene::Fake;

#[test]
fn issue_8_a_drain_goes_backwards_and_starts_nothing_anew() {
    let mut scene = Scene::serving();
    scene.generation.drain();
    assert_eq!(sorted(scene.done()), ["close sockets", "drain listener", "drain nursery"]);
    // A second order to drain is none.
    scene.generation.drain();
    assert_eq!(scene.done(), ["close sockets"]);
    scene.ends(&["listener"]);
    assert_eq!(scene.done(), [""; 0], "sessions go on");
    scene.ends(&["nursery"]);
    assert_eq!(sorted(scene.done()), ["drain auth", "drain handoff", "drain keyholder"]);
    scene.ends(&["keyholder", "auth"]);
    assert_eq!(scene.done(), [""; 0]);
    scene.ends(&["handoff"]);
    assert_eq!(
        sorted(scene.done()),
        ["drain checker", "drain dialer", "drain queue", "drain receiver", "drain resolver"]
    );
    assert!(!scene.generation.is_over());
    scene.ends(&["queue", "checker", "receiver", "dialer", "resolver"]);
    assert_eq!(scene.done(), ["drain observer"], "it hears the others to their end");
    scene.ends(&["observer"]);
    assert!(scene.generation.is_over());
    scene.passes(NOW);
    assert_eq!((scene.done(), scene.generation.next_due()), (Vec::new(), None));
}

#[test]
fn issue_13_sessions_of_a_generation_that_is_replaced_are_not_told_to_end() {
    let mut scene = Scene::serving();
    scene.generation.retire();
    assert_eq!(scene.done(), ["close sockets", "drain observer", "drain listener"]);
    assert!(scene.generation.is_retiring() && !scene.generation.is_serving());
    scene.passes(READY_DEADLINE);
    scene.generation.retire();
    assert_eq!(scene.done(), [""; 0], "nothing but time ends its sessions");
    scene.ends(&["listener"]);
    assert_eq!(scene.done(), ["drain nursery"]);
    scene.ends(&["nursery"]);
    assert_eq!(sorted(scene.done()), ["drain auth", "drain handoff", "drain keyholder"]);
    scene.ends(&["handoff", "keyholder", "auth"]);
    scene.done();
    scene.ends(&["queue", "checker", "receiver", "dialer", "resolver", "observer"]);
    assert!(scene.generation.is_over() && !scene.generation.is_retiring());
    // Told to drain meanwhile it does.
    let mut scene = Scene::serving();
    scene.generation.retire();
    scene.done();
    scene.generation.drain();
    assert_eq!(sorted(scene.done()), ["close sockets", "drain listener", "drain nursery"]);
    scene.generation.name_who_is_cut();
    assert_eq!(scene.done(), ["cut listener"]);
}

#[test]
fn a_role_that_is_started_anew_when_a_drain_begins_does_not_get_to_serve() {
    let mut scene = Scene::serving();
    scene.ends(&["handoff", "nursery"]);
    scene.done();
    scene.generation.drain();
    assert_eq!(sorted(scene.done()), ["close sockets", "drain listener", "drain nursery2"]);
    scene.reports("handoff2", Report::Jailed);
    scene.reports("nursery2", Report::Jailed);
    assert_eq!(scene.done(), [""; 0]);
    scene.ends(&["listener", "nursery2"]);
    assert_eq!(sorted(scene.done()), ["drain auth", "drain handoff2", "drain keyholder"]);
}

#[test]
fn issue_13_what_an_earlier_program_has_begun_goes_on_and_starts_nothing() {
    let before = Scene::serving();
    let known = before.generation.known(|_, pid| Some(pid.unsigned_abs() + 100));
    let left = resume::Generation {
        course: before.generation.course(),
        names: before.generation.has_names(),
        drain: 60,
        lock: None,
        sockets: Vec::new(),
        children: known,
    };
    assert!(left.children.iter().all(|child| child.phase == Phase::Ready && child.control == Some(child.pid + 100)));
    let processes = Fake { names: before.generation.processes.names, ..Fake::default() };
    let generation = Generation::adopt(processes, &left, before.now);
    let mut scene = Scene { generation, now: before.now, pings: false };
    assert!(scene.generation.is_serving() && scene.generation.is_adopted() && scene.generation.unproved() == 0);
    scene.ends(&["keyholder"]);
    scene.passes(BACKOFF_MAX);
    assert!(scene.generation.is_broken());
    assert!(scene.done().iter().all(|line| !line.starts_with("start")));
    // It is replaced as one of ours is.
    scene.generation.retire();
    assert_eq!(scene.generation.course(), Course::Retiring);
    assert!(scene.done().iter().any(|line| line == "drain listener"));
}
