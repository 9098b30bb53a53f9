//! The dialer, played by the test: obliging for the other tests, hostile here.

use super::*;
use gatepost_wire::dial::{Dial, Dialed};
use gatepost_wire::{FromDialer, ToDialer};
use std::io;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::thread;

type DialerEnd = End<FromDialer, ToDialer>;

/// Links a dialer with handoff, and gives its end.
fn link(shared: &Shared) -> DialerEnd {
    let (ours, theirs) = DialerEnd::pair().unwrap();
    tokio::spawn(shared.dialer.link(theirs.into_seq().into_fd()).unwrap());
    ours
}

/// A dialer that connects to those places.
pub(super) fn obliging(shared: &Shared, places: &[Connect]) {
    let (end, places) = (Arc::new(link(shared)), places.to_vec());
    thread::spawn(move || {
        let mut inbox = Inbox::new(64);
        while let Ok(dial) = end.recv(&mut inbox) {
            let (end, place) = (Arc::clone(&end), places[dial.backend as usize].clone());
            thread::spawn(move || answer(&end, dial, connect(&place, dial)));
        }
    });
}

fn connect(place: &Connect, dial: Dial) -> io::Result<OwnedFd> {
    match place {
        Connect::Unix(path) => UnixStream::connect(path).map(OwnedFd::from),
        Connect::Tcp(address) => {
            TcpStream::connect_timeout(address, Duration::from_millis(dial.patience.into())).map(OwnedFd::from)
        }
    }
}

fn answer(end: &DialerEnd, dial: Dial, connected: io::Result<OwnedFd>) {
    let number = dial.number;
    let _ = match connected {
        Ok(socket) => end.tell_with(&Dialed::Connected { number }, &[socket.as_fd()]),
        Err(e) => {
            let timed_out = if e.kind() == io::ErrorKind::TimedOut { 110 } else { 5 };
            let errno = e.raw_os_error().map_or(timed_out, |errno| errno as u16);
            end.tell(&Dialed::Failed { number, errno })
        }
    };
}

/// A dialer that answers the first request by `first` and connects to the backend for all others.
fn odd(shared: &Shared, place: &Connect, first: impl FnOnce(&DialerEnd, Dial) + Send + 'static) {
    let (end, place) = (link(shared), place.clone());
    thread::spawn(move || {
        let mut inbox = Inbox::new(64);
        let mut first = Some(first);
        while let Ok(dial) = end.recv(&mut inbox) {
            match first.take() {
                Some(first) => first(&end, dial),
                None => answer(&end, dial, connect(&place, dial)),
            }
        }
    });
}

fn connected(end: &DialerEnd, number: u32, fd: impl AsFd) {
    end.tell_with(&Dialed::Connected { number }, &[fd.as_fd()]).unwrap();
}

/// What an owned or broken dialer may answer to a request.
type Wrong = fn(&DialerEnd, Dial);

/// An owned dialer: each wrong answer costs the one request, which hears 451, and the next recipient is served.
#[test]
fn issue_9_a_wrong_answer_of_the_dialer_ends_one_request() {
    let answers: &[(&str, Wrong)] = &[
        ("no descriptor", |end, dial| end.tell(&Dialed::Connected { number: dial.number }).unwrap()),
        ("two descriptors", |end, dial| {
            let (a, b) = UnixStream::pair().unwrap();
            end.tell_with(&Dialed::Connected { number: dial.number }, &[a.as_fd(), b.as_fd()]).unwrap();
        }),
        ("an error that is none", |end, dial| {
            end.tell(&Dialed::Failed { number: dial.number, errno: 0 }).unwrap();
        }),
        ("a wrong number, then the failure", |end, dial| {
            connected(end, dial.number.wrapping_add(9), UnixStream::pair().unwrap().0);
            end.tell(&Dialed::Failed { number: dial.number, errno: 111 }).unwrap();
        }),
        ("twice", |end, dial| {
            end.tell(&Dialed::Failed { number: dial.number, errno: 111 }).unwrap();
            connected(end, dial.number, UnixStream::pair().unwrap().0);
        }),
        ("a file", |end, dial| connected(end, dial.number, fs::File::open("/proc/self/exe").unwrap())),
        ("a directory", |end, dial| connected(end, dial.number, fs::File::open("/").unwrap())),
        ("a pipe that is full of greetings", |end, dial| {
            let (reader, mut writer) = io::pipe().unwrap();
            io::Write::write_all(&mut writer, b"220 hello\r\n").unwrap();
            connected(end, dial.number, reader);
        }),
        ("a listening socket", |end, dial| {
            connected(end, dial.number, std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        }),
        ("a socket that is not connected", |end, dial| {
            connected(end, dial.number, std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        }),
        ("its own end of the channel", |end, dial| connected(end, dial.number, end)),
        ("a connection that is closed", |end, dial| connected(end, dial.number, UnixStream::pair().unwrap().0)),
    ];
    for (what, wrong) in answers {
        let fixture = Fixture::new().timeouts(|timeouts| timeouts.greeting = Duration::from_millis(500));
        let mta = fixture.mta();
        run(async {
            let shared = Arc::new(Shared::new(&fixture.slice, fixture.timeouts).unwrap());
            odd(&shared, &fixture.slice.backend.connect[0], *wrong);
            let mut session = Session::begin(&shared).await;
            assert_eq!(session.mail_and("user@ok.test").await.code, 451, "{what}");
            assert_eq!(session.ask(&[to("user@ok.test")]).await.code, 250, "{what}");
            assert_eq!(session.send(MESSAGE).await.code, 250, "{what}");
            session.bye().await;
        });
        assert_eq!(mta.count(), 1, "{what}");
    }
}

/// Nothing that the dialer hands out makes this process wait: here a connection that it has made blocking.
#[test]
fn issue_9_a_blocking_connection_stops_no_other_session() {
    let fixture = Fixture::new();
    let _mta = fixture.mta();
    let (silent, _far) = UnixStream::pair().unwrap();
    run(async {
        let shared = Arc::new(Shared::new(&fixture.slice, fixture.timeouts).unwrap());
        odd(&shared, &fixture.slice.backend.connect[0], move |end, dial| connected(end, dial.number, &silent));
        let first = Session::begin(&shared).await;
        first.say(&[Ask::Mail(MAIL), to("user@ok.test")]);
        let mut second = Session::begin(&shared).await;
        assert_eq!(second.mail_and("user@ok.test").await.code, 250);
    });
}

/// Killed in the middle of a connection, away for a while, then back.
#[test]
fn issue_9_without_the_dialer_mail_waits_and_with_it_goes_on() {
    let fixture = Fixture::new();
    let mta = fixture.mta();
    run(async {
        let shared = Arc::new(Shared::new(&fixture.slice, fixture.timeouts).unwrap());
        let mut session = Session::begin(&shared).await;
        assert_eq!(session.mail_and("user@ok.test").await.code, 451, "there is none yet");
        let end = link(&shared);
        let killed = thread::spawn(move || end.recv(&mut Inbox::new(64)).map(drop).unwrap());
        assert_eq!(session.ask(&[to("user@ok.test")]).await.code, 451, "it dies while it connects");
        killed.join().unwrap();
        assert_eq!(session.ask(&[to("user@ok.test")]).await.code, 451, "it is away");
        obliging(&shared, &fixture.slice.backend.connect);
        assert_eq!(session.ask(&[to("user@ok.test")]).await.code, 250, "it is back");
        assert_eq!(session.send(MESSAGE).await.code, 250);
        session.bye().await;
    });
    assert_eq!(mta.count(), 1);
}
