//! qmail-spp: `control/smtpplugins`, and all that a plugin can say.

use super::{greeted, told};
use crate::room::{Home, Session};
use gatepost_testkit::client::Client;

/// A session whose plugins are these lines of `control/smtpplugins`.
fn with(name: &str, config: &str, env: &[(&str, &str)]) -> (Home, Client, Session) {
    let home = Home::new(&format!("plugins/{name}"));
    home.control("rcpthosts", "d\n");
    home.control("smtpplugins", config);
    let (client, session) = home.serve(home.command().envs(env.iter().copied()));
    (home, client, session)
}

/// The same, greeted and with a sender.
fn at_rcpt(name: &str, config: &str) -> (Home, Client, Session) {
    let (home, mut client, session) = with(name, config, &[]);
    greeted(&mut client);
    told(&mut client, "MAIL FROM:<a@b>", "250 ok");
    (home, client, session)
}

fn content(client: &mut Client) {
    client.ask("DATA", 354);
    client.write(b"x\r\n.\r\n");
    client.expect(250);
}

#[test]
fn a_plugin_prints_refuses_and_hangs_up() {
    let (_home, mut client, _session) = at_rcpt("print", "[rcpt]\n:echo 'P250-hello'\n");
    assert_eq!(client.ask("RCPT TO:<c@d>", 250).lines, ["hello", "ok"]);

    let (_home, mut client, _session) = at_rcpt("error", "[rcpt]\n:[ \"$SMTPRCPTTO\" = c@d ] || echo 'E553 not you'\n");
    told(&mut client, "RCPT TO:<x@d>", "553 not you");
    told(&mut client, "RCPT TO:<c@d>", "250 ok");

    let (_home, mut client, mut session) = at_rcpt("reject", "[rcpt]\n:echo 'R421 gone'\n");
    told(&mut client, "RCPT TO:<c@d>", "421 gone");
    assert_eq!(client.rest(), "");
    session.ends(0);

    let (_home, mut client, mut session) = at_rcpt("drop", "[rcpt]\n:echo D\n");
    client.send("RCPT TO:<c@d>");
    assert_eq!(client.rest(), "");
    let _ = session.wait();
}

#[test]
fn a_plugin_accepts_for_itself_for_its_phase_and_for_all() {
    // The second of a phase is asked only if the first has not decided.
    let second = ":echo 'E553 the second'\n";
    let (_home, mut client, _session) = at_rcpt("next", &format!("[rcpt]\n:echo N\n{second}"));
    told(&mut client, "RCPT TO:<c@d>", "250 ok");
    client.ask("RCPT TO:<c@elsewhere>", 553);
    let (_home, mut client, _session) = at_rcpt("both", &format!("[rcpt]\n:true\n{second}"));
    told(&mut client, "RCPT TO:<c@d>", "553 the second");
    // A stops all plugins of the session, in later phases too.
    let all = format!("[mail]\n:echo A\n[rcpt]\n{second}[data]\n{second}");
    let (_home, mut client, _session) = at_rcpt("all", &all);
    told(&mut client, "RCPT TO:<c@d>", "250 ok");
    content(&mut client);
    // O says yes in the place of rcpthosts.
    let (home, mut client, _session) = at_rcpt("ok", "[rcpt]\n:echo O\n");
    told(&mut client, "RCPT TO:<c@elsewhere>", "250 ok");
    content(&mut client);
    assert_eq!(home.only().envelope, b"Fa@b\0Tc@elsewhere\0\0");
}

#[test]
fn a_plugin_adds_a_header_line_rewrites_and_sets_variables() {
    let config =
        "[mail]\n:echo Cnew@b; echo SNOTE=set; echo UTCPREMOTEPORT\n[rcpt]\n:echo 'HX-Plugin: yes'; echo Cnew@d\n";
    let (home, mut client, mut session) = at_rcpt("change", config);
    told(&mut client, "RCPT TO:<c@d>", "250 ok");
    content(&mut client);
    client.ask("QUIT", 221);
    session.ends(0);
    let record = home.only();
    assert_eq!(String::from_utf8_lossy(&record.envelope), "Fnew@b\0Tnew@d\0\0");
    let message = String::from_utf8_lossy(&record.message).into_owned();
    assert!(message.contains("\nX-Plugin: yes\n") || message.starts_with("X-Plugin: yes\n"), "{message}");
    assert!(message.ends_with("\nx\n"), "{message}");
    assert_eq!(record.variable("NOTE").as_deref(), Some("set"));
    assert_eq!(record.variable("TCPREMOTEPORT"), None);
}

#[test]
fn a_plugin_defers_its_error() {
    let at = [("M", "mail"), ("R", "rcpt"), ("D", "data")];
    for (letter, phase) in at {
        let config = format!("[helo]\n:echo 'L{letter}553 deferred'\n");
        let (_home, mut client, _session) = with(&format!("defer-{phase}"), &config, &[]);
        greeted(&mut client);
        for (of, line) in [("mail", "MAIL FROM:<a@b>"), ("rcpt", "RCPT TO:<c@d>"), ("data", "DATA")] {
            let reply = client.try_ask(line).unwrap().to_string();
            assert_eq!(reply == "553 deferred", of == phase, "L{letter} at {line}: {reply}");
            if of == phase {
                break;
            }
        }
    }
}

#[test]
fn a_plugin_is_told_what_has_been_said() {
    let say = "echo \"said $SMTPHELOHOST $SMTPMAILFROM $SMTPRCPTTO $SMTPRCPTCOUNT $SMTPRCPTCOUNTALL $SMTPRCPTHOSTSOK\" >>said";
    let names = ["connection", "helo", "mail", "rcpt", "data"];
    // Sections go by their first letter; blanks and comments are none of them.
    let config: String = names.iter().map(|name| format!("# {name}\n\n[{name}]\n:{say}-{name}\n")).collect();
    let (home, mut client, _session) = with("told", &config, &[]);
    greeted(&mut client);
    told(&mut client, "MAIL FROM:<a@b>", "250 ok");
    told(&mut client, "RCPT TO:<c@d>", "250 ok");
    client.ask("RCPT TO:<c@elsewhere>", 553);
    content(&mut client);
    let said = |name: &str| {
        let text = std::fs::read_to_string(home.path(&format!("said-{name}"))).unwrap_or_default();
        let line = |line: &str| line.split(' ').skip(1).map(str::to_owned).collect::<Vec<_>>();
        text.lines().map(line).collect::<Vec<_>>()
    };
    assert_eq!(said("connection").len(), 1);
    assert_eq!(said("helo")[0][0], "road.test");
    assert_eq!(said("mail")[0][..2], ["road.test", "a@b"]);
    let rcpt = said("rcpt");
    assert_eq!(rcpt[0][2], "c@d");
    assert_eq!(rcpt[0][5], "1", "{rcpt:?}");
    assert_eq!(rcpt[1][2], "c@elsewhere");
    assert_eq!(rcpt[1][5], "0", "{rcpt:?}");
    assert_eq!(said("data").len(), 1);
}

#[test]
fn a_plugin_that_fails_refuses_what_it_was_asked_about() {
    // Neither the patch nor a path of ours is the client's business; both are in the log.
    for (name, plugin, why) in [
        ("missing", "/nonexistent/plugin", "plugin /nonexistent/plugin: can't execute"),
        ("crash", ":kill -9 $$", "plugin kill?-9?$$: child crashed"),
    ] {
        let (home, mut client, _session) = at_rcpt(name, &format!("[rcpt]\n{plugin}\n"));
        told(&mut client, "RCPT TO:<c@d>", "451 plugin failure (#4.3.0)");
        assert!(home.log().contains(why), "{}", home.log());
    }
}

#[test]
fn a_plugin_cannot_break_a_reply() {
    let (_home, mut client, _session) = at_rcpt("inject", "[rcpt]\n:printf 'E553 one\\r250 two\\n'\n");
    let reply = client.try_ask("RCPT TO:<c@d>").unwrap();
    assert_eq!(reply.code, 553, "{reply}");
    assert!(!reply.text().contains('\r'), "{reply:?}");
    told(&mut client, "NOOP", "250 ok");
}

#[test]
fn the_list_of_plugins_can_be_another_or_none() {
    let refuse = "[rcpt]\n:echo 'E553 a plugin'\n";
    let (_home, mut client, _session) = with("none", refuse, &[("NOSPP", "1")]);
    greeted(&mut client);
    told(&mut client, "MAIL FROM:<a@b>", "250 ok");
    told(&mut client, "RCPT TO:<c@d>", "250 ok");
    let home = Home::new("plugins/other");
    home.control("other", refuse);
    let (mut client, _session) = home.serve(home.command().env("SPPCONFFILE", "control/other"));
    greeted(&mut client);
    told(&mut client, "MAIL FROM:<a@b>", "250 ok");
    told(&mut client, "RCPT TO:<c@d>", "553 a plugin");
}
