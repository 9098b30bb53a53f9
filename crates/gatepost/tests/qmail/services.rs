//! The run script of `examples/services` under each supervisor: softlimit, tcpserver and qmail-smtpd in a row.

use crate::room::{GATEPOST, Home};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, HERE, Host};
use gatepost_testkit::run::run;
use gatepost_testkit::supervisor::{LINKS, Supervisor};
use gatepost_testkit::wait::{SOON, holds};
use std::process::Command;

fn session(host: &Host) {
    let mut client = Client::over(host.connect(&format!("{HERE}:25")));
    client.hello("road.test");
    client.deliver("s@road.test", "a@example.com", "x\r\n");
    client.ask("QUIT", 221);
}

#[test]
fn issue_11_the_chain_of_a_run_script_serves_under_each_supervisor() {
    let name = "issue_11_the_chain_of_a_run_script_serves_under_each_supervisor";
    let needs = [&Supervisor::NEEDS[..], &["strip"]].concat();
    for supervisor in Supervisor::ALL {
        let Some(host) = host::for_test(name, &needs) else { return };
        let home = Home::on(&host, "/var/qmail");
        home.control("rcpthosts", "example.com\n");
        // Without its debugging information, which alone is larger than the script's softlimit.
        run(Command::new("install").args(["-s", "-m", "755", GATEPOST]).arg(home.path("bin/gatepost")))
            .expect_ok("install");
        let links = "ln -s gatepost /var/qmail/bin/qmail-smtpd && mkdir LINKS && \
                     for name in softlimit tcprules tcpserver; do ln -s /var/qmail/bin/gatepost LINKS/$name; done";
        host.shell(&links.replace("LINKS", LINKS)).expect_ok("links");
        host.shell("echo qmaild:x:64011:64011::/:/bin/false >>/etc/passwd").expect_ok("qmaild");
        home.owned_by(64_011);
        host.shell(&format!("cd /etc && echo ':allow,NOTE=\"ruled\"' | {LINKS}/tcprules tcp.smtp.cdb tcp.smtp.tmp"))
            .expect_ok("tcprules");
        supervisor.install(&host, "qmail-smtpd");
        let mut scanner = supervisor.start(&host);
        let listens = || host.listens(&format!("{HERE}:25"));
        holds("the service to listen", SOON, listens);
        session(&host);
        let idle = || supervisor.log(&host, "qmail-smtpd").matches("tcpserver: status: 0/40\n").count();
        holds("its sessions to have ended", SOON, || idle() >= 2);
        // One that was ended is started anew; one that was told to stay down is not.
        let before = idle();
        supervisor.control(&host, 't', "qmail-smtpd").expect_ok("TERM");
        holds("it to be started anew", SOON, || idle() > before);
        session(&host);
        holds("both messages to be delivered", SOON, || home.delivered().len() == 2);
        let limit =
            host.shell("grep 'Max address space' /proc/$(pgrep -x tcpserver)/limits").expect_ok("limits").stdout;
        assert_eq!(limit.split_whitespace().nth(3), Some("30000000"), "{limit}");
        let record = home.delivered().remove(1);
        assert_eq!(record.variable("NOTE").as_deref(), Some("ruled"));
        assert_eq!(
            record.about.lines().find_map(|line| line.strip_prefix("Uid:\t64011\t")),
            Some("64011\t64011\t64011")
        );
        supervisor.control(&host, 'd', "qmail-smtpd").expect_ok("down");
        holds("it to be down", SOON, || !listens());
        let log = supervisor.log(&host, "qmail-smtpd");
        for line in ["tcpserver: ok ", "tcpserver: end ", "gatepost: session "] {
            assert!(log.contains(line), "{supervisor:?}: no {line:?} in:\n{log}");
        }
        println!("{supervisor:?}: {} lines in the log", log.lines().count());
        assert!(scanner.ended().is_none(), "{}", scanner.said());
    }
}
