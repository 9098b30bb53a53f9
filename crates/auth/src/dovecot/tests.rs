//! Asking a Dovecot that the test plays, by a dialer that the test plays.

use super::*;
use gatepost_channel::{End, Inbox};
use gatepost_wire::dial::{Dial, Dialed};
use gatepost_wire::{FromDialer, ToDialer};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// What the Dovecot does with one connection.
type Manners = fn(UnixStream);

/// Runs `test` against a Dovecot of those manners.
fn with<T>(manners: Manners, test: impl AsyncFnOnce(Arc<Dovecot>) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (ours, theirs) = End::<ToDialer, FromDialer>::pair().unwrap();
        let dialer = Arc::<DialerLink>::default();
        tokio::spawn(dialer.link(ours.as_fd().try_clone_to_owned().unwrap()).unwrap());
        let theirs = End::<FromDialer, ToDialer>::from_fd(theirs.as_fd().try_clone_to_owned().unwrap());
        drop(ours);
        std::thread::spawn(move || {
            let mut inbox = Inbox::new(64);
            while let Ok(Dial { number, backend: 0, .. }) = theirs.recv(&mut inbox) {
                let (near, far) = UnixStream::pair().unwrap();
                near.set_nonblocking(true).unwrap();
                theirs.tell_with(&Dialed::Connected { number }, &[near.as_fd()]).unwrap();
                std::thread::spawn(move || manners(far));
            }
        });
        let short = Duration::from_millis(200);
        let waits = Waits { greeting: Duration::from_secs(5), permit: short, answer: short };
        test(Arc::new(Dovecot { waits, ..Dovecot::new(dialer) })).await
    })
}

fn client() -> SocketAddr {
    "192.0.2.9:4713".parse().unwrap()
}

async fn plain(dovecot: &Dovecot) -> Outcome {
    dovecot.begin(Mechanism::Plain, client(), Some(b"\0joe\0pw"), &[]).await
}

/// Greets, and gives each request and response to `answer`, with its number.
fn greet(far: UnixStream, mut answer: impl FnMut(&mut UnixStream, &str, &str)) {
    let mut out = far.try_clone().unwrap();
    out.write_all(b"VERSION\t1\t2\nMECH\tPLAIN\nMECH\tLOGIN\nMECH\tSCRAM-SHA-256\nDONE\n").unwrap();
    for line in BufReader::new(far).lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split('\t').collect();
        if let ["AUTH" | "CONT", id, ..] = words.as_slice() {
            answer(&mut out, id, &line);
        }
    }
}

#[test]
fn issue_15_a_dovecot_that_hangs_or_dies_is_no_yes() {
    let hangs: Manners = |far| greet(far, |_, _, _| {});
    let dies: Manners = |far| drop(far);
    let half: Manners = |far| {
        greet(far, |out, id, _| {
            let _ = write!(out, "OK\t{id}\tuser=joe");
            let _ = out.shutdown(std::net::Shutdown::Both);
        });
    };
    let silent: Manners = |far| assert!(BufReader::new(far).lines().count() > 0);
    for (what, manners) in [("hangs", hangs), ("dies", dies), ("half a line", half)] {
        let outcome = with(manners, async |dovecot| plain(&dovecot).await);
        assert!(matches!(outcome, Outcome::Failed(_)), "{what}");
    }
    // One that does not greet either.
    with(silent, async |dovecot| {
        let dovecot = Dovecot {
            waits: Waits { greeting: Duration::from_millis(200), ..dovecot.waits },
            ..Dovecot::new(Arc::clone(&dovecot.dialer))
        };
        assert!(matches!(plain(&dovecot).await, Outcome::Failed(_)));
        assert_eq!(dovecot.offer().await, Mechanisms::PASSWORD);
    });
}

#[test]
fn issue_15_login_is_spoken_with_a_dovecot_in_its_own_steps() {
    let manners: Manners = |far| {
        let mut step = 0;
        greet(far, |out, id, line| {
            step += 1;
            let answer = match (step, line.rsplit('\t').next()) {
                (1, _) => format!("CONT\t{id}\tVXNlcm5hbWU6\n"),
                (2, Some("am9l")) => format!("CONT\t{id}\tUGFzc3dvcmQ6\n"),
                (3, Some("cHc=")) => format!("OK\t{id}\tuser=joe\n"),
                _ => format!("FAIL\t{id}\n"),
            };
            out.write_all(answer.as_bytes()).unwrap();
        });
    };
    with(manners, async |dovecot| {
        let outcome = dovecot.begin(Mechanism::Login, client(), None, &[b"joe", b"pw"]).await;
        assert!(matches!(outcome, Outcome::Accepted(login) if login == "joe"));
        let all = Mechanisms::PASSWORD.with(Mechanism::ScramSha256);
        assert_eq!(dovecot.offer().await, all);
    });
}

#[test]
fn p13_dialogues_that_wait_for_their_clients_give_way() {
    let manners: Manners = |far| greet(far, |out, id, _| writeln!(out, "CONT\t{id}\tcj1h").unwrap());
    with(manners, async |dovecot| {
        let mut going = Vec::new();
        for _ in 0..AT_ONCE {
            match dovecot.begin(Mechanism::ScramSha256, client(), Some(b"n,,n=joe,r=a"), &[]).await {
                Outcome::Challenge(_, exchange) => going.push(exchange),
                _ => panic!("no challenge"),
            }
        }
        // Another one of the same network has to wait; one of another network does not.
        assert!(matches!(plain(&dovecot).await, Outcome::Unknown));
        let newcomer = {
            let dovecot = Arc::clone(&dovecot);
            let other = "198.51.100.1:1".parse().unwrap();
            tokio::spawn(async move { dovecot.begin(Mechanism::ScramSha256, other, Some(b""), &[]).await })
        };
        let mut left = 0;
        for exchange in going {
            let waiting = timeout(Duration::from_millis(20), exchange.unless_told(std::future::pending::<()>()));
            left += u64::from(waiting.await.is_err());
        }
        assert_eq!(left, AT_ONCE - 1);
        assert!(matches!(newcomer.await.unwrap(), Outcome::Challenge(..)));
    });
}
