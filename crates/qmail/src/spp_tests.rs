use super::*;
use proptest::prelude::*;

/// What a phase came to, with what it left behind.
struct Heard {
    outcome: Option<Outcome>,
    printed: Vec<String>,
    address: Option<Vec<u8>>,
    session: Session,
    environment: Environment,
}

fn heard(phase: Phase, output: &[u8], ended: Ended) -> Heard {
    let (mut session, mut environment) = (Session::default(), Environment::default());
    let plugin = Plugin::Path(b"plugins/x".to_vec());
    let mut run = Run::new(&mut session, phase);
    let outcome = run.plugin(&plugin, output, ended, &mut environment).break_value();
    let printed = run.printed.iter().map(|reply| reply.line().to_owned()).collect();
    let address = run.address.take();
    Heard { outcome, printed, address, session, environment }
}

#[test]
fn the_file_has_sections_by_their_first_letter() {
    let octets = b"stray\n# c\n[connection]\nplugins/a\n:exit 0 # all of it\n[rcpt]\n/abs/b\n[x]\nlost\n[auth]\nc\n";
    let mut warnings = Vec::new();
    let plugins = Plugins::parse(octets, &mut warnings);
    let of = |phase| plugins.of(phase).cloned().collect::<Vec<_>>();
    let path = |text: &str| Plugin::Path(text.into());
    assert_eq!(of(Phase::Connection), [path("plugins/a"), Plugin::Shell(b"exit 0 # all of it".to_vec())]);
    assert_eq!(of(Phase::Rcpt), [path("/abs/b")]);
    assert_eq!(of(Phase::Auth), [path("c")]);
    assert_eq!(of(Phase::Data), []);
    let lines: Vec<_> = warnings
        .iter()
        .map(|warning| match warning {
            Warning::Plugin { line, .. } => *line,
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(lines, [1, 9]);
}

#[test]
fn words_that_decide() {
    let fail = |line: &[u8]| Some(Outcome::Fail(Reply::said(line).unwrap()));
    for (output, outcome) in [
        (&b""[..], None),
        (b"N\n", Some(Outcome::Pass)),
        (b"A\n", Some(Outcome::Pass)),
        (b"O", Some(Outcome::Bypass)),
        (b"D\nE550 not heard\n", Some(Outcome::Close(None))),
        (b"E550 no (#5.7.1)\nN\n", fail(b"550 no (#5.7.1)")),
        (b"R421 bye\r\n", Some(Outcome::Close(Reply::said(b"421 bye")))),
        (b"Eplain words", fail(b"554 plain words")),
        (b"E550", fail(b"550 ")),
        (b"what is this\n\nN", Some(Outcome::Pass)),
    ] {
        assert_eq!(heard(Phase::Rcpt, output, Ended::Exited(0)).outcome, outcome, "{}", output.escape_ascii());
    }
    assert!(!heard(Phase::Rcpt, b"A\n", Ended::Exited(0)).session.is_running());
    assert!(heard(Phase::Rcpt, b"N\n", Ended::Exited(0)).session.is_running());
}

#[test]
fn words_that_only_tell() {
    let output = b"P250-more\nHX-Spp: yes\nH\tand more\nCnew@x.example\nSRELAYCLIENT=\nSA=1=2\nUGONE\nLM451 later\nLR550 r\nLD550 d\nLX?\n";
    let heard = heard(Phase::Rcpt, output, Ended::Exited(3));
    assert_eq!(heard.outcome, None);
    assert_eq!(heard.printed, ["250-more"]);
    assert_eq!(heard.address.as_deref(), Some(&b"new@x.example"[..]));
    assert_eq!(heard.session.headers().collect::<Vec<_>>(), [&b"X-Spp: yes"[..], b"\tand more"]);
    assert_eq!(heard.environment.get("RELAYCLIENT"), Some(&b""[..]));
    assert_eq!(heard.environment.get("A"), Some(&b"1=2"[..]));
    assert_eq!(heard.environment.get("SMTPRCPTTO"), Some(&b"new@x.example"[..]));
    let mut session = heard.session;
    for (phase, line) in [(Phase::Mail, "451 later"), (Phase::Rcpt, "550 r"), (Phase::Data, "550 d")] {
        assert_eq!(session.put_off(phase).iter().map(Reply::line).collect::<Vec<_>>(), [line]);
    }
    session.reset();
    assert!(session.put_off(Phase::Mail).is_empty() && session.headers().next().is_none());
}

#[test]
fn what_was_said_about_the_client_outlives_a_message() {
    for (phase, after_message, after_helo) in
        [(Phase::Connection, 1, 1), (Phase::Helo, 1, 0), (Phase::Auth, 1, 1), (Phase::Mail, 0, 0), (Phase::Data, 0, 0)]
    {
        let mut session = heard(phase, b"LM550 no\nHX: y\n", Ended::Exited(0)).session;
        let left = |session: &Session| [session.put_off(Phase::Mail).len(), session.headers().count()];
        session.reset();
        assert_eq!(left(&session), [after_message; 2], "{phase:?}");
        session.renamed();
        assert_eq!(left(&session), [after_helo; 2], "{phase:?}");
    }
}

#[test]
fn p11_what_a_plugin_repeats_stays_one_line_and_reaches_no_linker() {
    for (output, name) in [
        (&b"SLD_PRELOAD=/tmp/x"[..], "LD_PRELOAD"),
        (b"SPATH=/tmp", "PATH"),
        (b"SA B=1", "A B"),
        (b"S=1", ""),
        (b"SNOVALUE", "NOVALUE"),
    ] {
        assert!(!heard(Phase::Mail, output, Ended::Exited(0)).environment.has(name), "{name}");
    }
    let environment = heard(Phase::Mail, b"SX=a\rb\0c", Ended::Exited(0)).environment;
    assert_eq!(environment.get("X"), Some(&b"abc"[..]));
    assert_eq!(
        heard(Phase::Mail, b"E550 a\rb", Ended::Exited(0)).outcome,
        Some(Outcome::Fail(Reply::said(b"550 ab").unwrap()))
    );
    for no_header in [&b"H"[..], b"Hno colon", b"H: no name", b"Hbad name: x"] {
        assert!(heard(Phase::Mail, no_header, Ended::Exited(0)).session.headers().next().is_none());
    }
    let long = [&b"C"[..], &[b'a'; 900]].concat();
    assert_eq!(heard(Phase::Mail, &long, Ended::Exited(0)).address, None);
    assert_eq!(heard(Phase::Data, b"Ca@b", Ended::Exited(0)).address, None);
}

#[test]
fn failures_say_which_plugin_and_why() {
    let much = vec![b'\n'; OUTPUT_MAX + 1];
    for (output, ended, why) in [
        (&b"N\n"[..], Ended::Killed(11), "child crashed"),
        (b"N\n", Ended::Exited(120), "can't execute"),
        (b"", Ended::NotForked, "fork() failed"),
        (b"", Ended::Lost, "wait_pid() failed"),
        (&much, Ended::Exited(0), "too much output"),
    ] {
        let Some(Outcome::Broken(told)) = heard(Phase::Mail, output, ended).outcome else { panic!("{why}") };
        assert_eq!(told, format!("plugin plugins/x: {why}"));
    }
}

#[test]
fn a_phase_s_variables() {
    let mut environment = Environment::default();
    variables(Facts::Helo(b"h\n"), &mut environment);
    variables(Facts::Mail(b"a@b"), &mut environment);
    variables(Facts::Rcpt { recipient: b"c@d", accepted: 1, named: 3, allowed: false }, &mut environment);
    variables(Facts::Nothing, &mut environment);
    for (name, value) in [
        ("SMTPHELOHOST", "h"),
        ("SMTPMAILFROM", "a@b"),
        ("SMTPRCPTTO", "c@d"),
        ("SMTPRCPTCOUNT", "1"),
        ("SMTPRCPTCOUNTALL", "3"),
        ("SMTPRCPTHOSTSOK", "0"),
    ] {
        assert_eq!(environment.get(name), Some(value.as_bytes()), "{name}");
    }
}

proptest! {
    #[test]
    fn no_output_upsets_it(output in proptest::collection::vec(prop_oneof!["[PERDANOHCSUL][MRD]?", "[ -~\\n\\r]{0,9}"], 0..30)) {
        let output = output.concat().into_bytes();
        let heard = heard(Phase::Rcpt, &output, Ended::Exited(0));
        for line in heard.session.headers() {
            prop_assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
        }
        prop_assert!(heard.printed.iter().all(|line| line.bytes().all(|octet| (b' '..=b'~').contains(&octet))));
    }
}
