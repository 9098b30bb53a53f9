//! Issue 12, point 7: several backends by recipient.

use super::*;
use crate::routes::{DestinationId, Routes};
use gatepost_smtp::envelope::Reason;
use gatepost_testkit::rogue::{Deed, Stage};
use gatepost_wire::slice::RouteSlice;

/// Beside the backend for ok.test an LMTP server for some addresses.
fn fixture() -> Fixture {
    Fixture::new().with(|slice| {
        let mut backend = slice.backend.clone();
        let lists = slice.backend.connect.iter().map(|place| match place {
            Connect::Unix(path) => Connect::Unix(path.with_file_name("lists")),
            other => other.clone(),
        });
        backend.connect = lists.collect();
        (backend.dialect, backend.identity, backend.texts) = (Dialect::Lmtp, Identity::None, false);
        // All of them of the one domain that the backends of tests take mail for.
        let recipients = ["b@ok.test", "d@ok.test", "news@ok.test"].map(str::to_owned).into();
        slice.routes.push(RouteSlice { domains: Vec::new(), recipients, backend });
    })
}

fn lists(fixture: &Fixture) -> Mta {
    Mta::unix(&fixture.directory.join("lists"), Speaks::Lmtp)
}

fn took(mta: &Mta) -> Vec<Vec<String>> {
    mta.taken().into_iter().map(|taken| taken.to).collect()
}

#[test]
fn issue_12_each_recipient_has_one_backend() {
    let fixture = Fixture::new().with(|slice| {
        slice.domains = [".ok.test", "a.lists.test"].map(str::to_owned).into();
        let route = |domains: &[&str], recipients: &[&str]| RouteSlice {
            domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
            recipients: recipients.iter().map(|address| (*address).to_owned()).collect(),
            backend: slice.backend.clone(),
        };
        let routes = [
            route(&[".lists.test", "one.ok.test"], &["me@two.ok.test"]),
            route(&[".b.lists.test", ".ok.test"], &["you@b.lists.test"]),
        ];
        slice.routes.extend(routes);
    });
    let shared = fixture.shared();
    let routes: &Routes = &shared.routes;
    for (address, id) in [
        ("x@elsewhere.test", DestinationId::Backend),
        ("x@one.ok.test", DestinationId::Route(0)),
        // As long as the one of [relay].
        ("x@two.ok.test", DestinationId::Route(1)),
        ("Me@TWO.ok.test", DestinationId::Route(0)),
        ("x@c.lists.test", DestinationId::Route(0)),
        // The longer entry is that of [relay].
        ("x@a.lists.test", DestinationId::Backend),
        ("x@c.b.lists.test", DestinationId::Route(1)),
        ("x@b.lists.test", DestinationId::Route(0)),
        ("you@b.lists.test", DestinationId::Route(1)),
        ("x@[192.0.2.1]", DestinationId::Backend),
    ] {
        let (name, domain) = address.split_once('@').unwrap();
        assert_eq!(routes.of(name.as_bytes(), Some(domain.as_bytes())), id, "{address}");
    }
    assert_eq!(routes.of(b"postmaster", None), DestinationId::Backend);
    assert!(shared.relay.domains.covers("one.ok.test") && !shared.relay.domains.covers("lists.test"));
}

#[test]
fn issue_12_a_transaction_keeps_the_backend_of_its_first_recipient() {
    let fixture = fixture();
    let (mta, lists) = (fixture.mta(), lists(&fixture));
    run(async {
        let mut session = Session::begin(&fixture.shared()).await;
        assert_eq!(session.mail_and("a@ok.test").await.code, 250);
        for other in ["b@ok.test", "news@ok.test"] {
            let refusal = session.ask(&[to(other)]).await;
            assert_eq!((refusal.code, refusal.enhanced, refusal.reason), (452, (4, 5, 3), Reason::OtherBackend));
        }
        assert_eq!(session.ask(&[to("c@ok.test")]).await.code, 250);
        assert_eq!(session.send(MESSAGE).await.code, 250);

        assert_eq!(session.mail_and("b@ok.test").await.code, 250);
        assert_eq!(session.ask(&[to("a@ok.test")]).await.reason, Reason::OtherBackend);
        assert_eq!(session.ask(&[to("news@ok.test")]).await.code, 250);
        assert_eq!(session.ask(&[to("d@ok.test")]).await.code, 250);
        assert_eq!(session.send(MESSAGE).await.code, 250);
        session.bye().await;
    });
    assert_eq!(took(&mta), [["a@ok.test", "c@ok.test"]]);
    assert_eq!(took(&lists), [["b@ok.test", "news@ok.test", "d@ok.test"]]);
    // Each backend is told of the client in its own way.
    assert!(mta.lines().iter().any(|line| line.starts_with("XCLIENT")));
    assert!(!lists.lines().iter().any(|line| line.starts_with("XCLIENT") || line.starts_with("EHLO")));
}

#[test]
fn issue_12_the_first_recipient_is_the_first_that_was_accepted() {
    let fixture = fixture();
    let (mta, lists) = (fixture.mta(), lists(&fixture));
    mta.misbehave(Stage::Rcpt, Deed::Answer("550 5.1.1 no such user\r\n"));
    lists.misbehave(Stage::End, Deed::Answer("554 5.7.1 why\r\n"));
    run(async {
        let mut session = Session::begin(&fixture.shared()).await;
        assert_eq!(session.mail_and("a@ok.test").await.code, 550);
        assert_eq!(session.text.as_str(), "no such user");
        assert_eq!(session.ask(&[to("b@ok.test")]).await.code, 250);
        // Its texts are not for the client.
        assert_eq!(session.send(MESSAGE).await.code, 554);
        assert!(session.text.is_none());
        session.bye().await;
    });
    assert_eq!((mta.count(), took(&lists).len()), (0, 1));
}

#[test]
fn issue_12_a_backend_that_is_away_costs_its_own_recipients_alone() {
    let fixture = fixture().with(|slice| slice.routes[0].backend.connections = 1);
    let mta = fixture.mta();
    run(async {
        let shared = fixture.shared();
        assert!(shared.routes.prove().await.is_err());
        let mut session = Session::begin(&shared).await;
        assert_eq!(session.mail_and("b@ok.test").await.reason, Reason::BackendDown);
        assert_eq!(session.ask(&[to("a@ok.test")]).await.code, 250);
        assert_eq!(session.send(MESSAGE).await.code, 250);
        // The other's one connection is not taken by it.
        let lists = lists(&fixture);
        assert_eq!(session.mail_and("a@ok.test").await.code, 250);
        let mut other = Session::begin(&shared).await;
        assert_eq!(other.mail_and("b@ok.test").await.code, 250);
        assert_eq!(other.send(MESSAGE).await.code, 250);
        assert_eq!(took(&lists).len(), 1);
        other.bye().await;
        session.bye().await;
    });
    assert_eq!(mta.count(), 1);
}

#[test]
fn p7_a_route_that_relays_for_strangers_is_found_out() {
    let fixture = fixture().with(|slice| slice.routes[0].backend.relay_proof = true);
    let (_mta, lists) = (fixture.mta(), lists(&fixture));
    lists.misbehave(Stage::Rcpt, Deed::Answer("250 2.1.5 Ok\r\n"));
    let proved = run(async { fixture.shared().routes.prove().await });
    let why = proved.unwrap_err().to_string();
    assert!(why.contains("/lists relays for a stranger"), "{why}");
}
