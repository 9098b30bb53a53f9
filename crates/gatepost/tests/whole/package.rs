//! The Debian package, from `dpkg -i` to `dpkg --purge`: a new user's first hour, on a host with a real systemd and Postfix.

use crate::gate::{CONFIG, GATEPOST};
use crate::init;
use crate::stock_postfix::{self, DOMAIN, mailbox};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, AWAY, AWAY6, HERE, HERE6, has, source_tree};
use gatepost_testkit::run::run;
use gatepost_testkit::systemd::SystemdHost;
use gatepost_testkit::wait::{SOON, holds};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The package of the program under test.
fn package(test: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    let stripped = dir.join("gatepost");
    for (program, copy) in
        [(GATEPOST, &stripped), (env!("CARGO_BIN_EXE_gatepost-qmail-smtpd"), &dir.join("gatepost-qmail-smtpd"))]
    {
        run(Command::new("strip").arg("-o").arg(copy).arg(program)).expect_ok("strip");
    }
    let build = source_tree().join("systemd/deb/build");
    run(Command::new(build).env("XZ_LEVEL", "0").arg(&stripped).arg(&dir)).expect_ok("systemd/deb/build");
    let mut files = std::fs::read_dir(&dir).unwrap().map(|file| file.unwrap().path());
    files.find(|path| path.extension().is_some_and(|end| end == "deb")).expect("a package")
}

/// A machine whose `/usr` can be written to without a trace outside of it.
fn machine(test: &str) -> Option<SystemdHost> {
    let host = host::for_test(test, &["openssl", "postfix", "dpkg-deb"])?;
    let layer = |dir: &str| {
        format!(
            "mkdir -p /run/over{dir}/upper /run/over{dir}/work; mount -t overlay overlay -o \
             lowerdir={dir},upperdir=/run/over{dir}/upper,workdir=/run/over{dir}/work {dir}; "
        )
    };
    host.shell(&format!("set -e; mkdir -p /run/over; {}{}", layer("/usr/lib"), layer("/usr/share")))
        .expect_ok("layers");
    stock_postfix::configure(&host);
    // The index of manual pages takes longer to make than all of this; and a machine for tests may forbid packages to touch services.
    host.shell("rm -f /var/lib/man-db/auto-update /usr/sbin/policy-rc.d").expect_ok("a machine as others have it");
    let host = match SystemdHost::on(host) {
        Ok(host) => host,
        Err(skip) => panic!("{skip:?}"),
    };
    host.shell("systemctl start postfix").expect_ok("Postfix");
    Some(host)
}

fn deliver(host: &SystemdHost, address: &str, to: &str, subject: &str) {
    let mut client = Client::over(host.host.connect(address));
    client.hello("road.test");
    client.starttls(&format!("mx.{DOMAIN}"));
    client.ask("EHLO road.test", 250);
    client.deliver("sender@road.test", to, &format!("Subject: {subject}\r\n\r\nx\r\n"));
    client.ask("QUIT", 221);
}

#[test]
fn issue_13_lintian_finds_nothing_to_say() {
    let test = "issue_13_lintian_finds_nothing_to_say";
    if !has(test, &["lintian", "dpkg-deb", "strip"]) {
        return;
    }
    let package = package(test);
    let lintian = run(Command::new("lintian").args(["--allow-root", "--fail-on", "error,warning"]).arg(&package));
    assert!(lintian.ok(), "{}", lintian.said());
    let other = "etc/cron";
    let listed = run(Command::new("dpkg-deb").arg("-c").arg(&package)).stdout;
    for path in [
        "usr/sbin/gatepost",
        "usr/lib/gatepost/qmail-smtpd -> gatepost-qmail-smtpd",
        "lib/systemd/system/gatepost.service",
        "man/man5/gatepost.toml.5.gz",
        "completions/gatepost",
    ] {
        assert!(listed.contains(path) && !listed.contains(other), "{path}: {listed}");
    }
    std::fs::remove_dir_all(package.parent().unwrap()).unwrap();
}

#[test]
fn issue_13_a_first_hour_from_the_package_to_its_purge() {
    let test = "issue_13_a_first_hour_from_the_package_to_its_purge";
    let Some(host) = machine(test) else { return };
    let package = package(test);
    let install = format!("dpkg --force-confold -i {}", package.display());
    host.shell(&install).expect_ok(&install);

    // Nothing runs before it is configured.
    for unit in ["gatepost.service", "gatepost.socket"] {
        assert_eq!(host.property(unit, "ActiveState"), "inactive");
        assert_eq!(host.property(unit, "UnitFileState"), "disabled");
    }
    let made = host.shell("gatepost init").expect_ok("init");
    for step in init::steps(&made.stdout) {
        let typed = host.shell(step);
        let checked = step == "gatepost check" && typed.status.code() == Some(2);
        assert!(typed.ok() || checked, "{step}: {}", typed.said());
    }
    assert_eq!(host.property("gatepost.service", "ActiveState"), "active", "{}", host.journal("gatepost"));

    for (address, from) in [(format!("{HERE}:25"), AWAY), (format!("[{HERE6}]:25"), AWAY6)] {
        deliver(&host, &address, &format!("postmaster@{DOMAIN}"), &format!("to {address}"));
        holds("it is in the mailbox", SOON, || mailbox(&host.host).contains(&format!("Subject: to {address}")));
        assert!(mailbox(&host.host).contains(from), "{}", mailbox(&host.host));
    }

    // Another domain, here and there, without a restart.
    host.shell("postconf -e 'mydestination=mx.example.org,example.org,second.test,localhost' && postfix reload")
        .expect_ok("Postfix");
    let text = host.host.read(CONFIG);
    host.host.write(CONFIG, &text.replace("domains = [", "domains = [\"second.test\", "));
    host.shell("systemctl reload gatepost").expect_ok("reload");
    deliver(&host, &format!("{HERE}:25"), "postmaster@second.test", "second");
    holds("it is in the mailbox", SOON, || mailbox(&host.host).contains("Subject: second"));

    // The line of the manual that shows what became of the mail for a recipient.
    let grep = "journalctl -u gatepost --no-pager -o cat --grep 'recipient session=.* to=\"postmaster@second.test\"'";
    holds("the log tells of it", SOON, || host.shell(grep).stdout.contains("reply=250"));
    assert_eq!(host.shell(grep).stdout.lines().count(), 1);

    let top = host.shell("gatepost top --once").expect_ok("top");
    assert!(top.stdout.contains("session"), "{}", top.stdout);

    // certbot renews, and its hook puts the new certificate there.
    let lineage = format!("/etc/letsencrypt/live/mx.{DOMAIN}");
    let hook = source_tree().join("examples/certificates/certbot");
    host.shell(&format!(
        "set -e; mkdir -p {lineage}; cd {lineage}
         openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=mx.{DOMAIN} \
           -addext subjectAltName=DNS:mx.{DOMAIN} -keyout privkey.pem -out fullchain.pem 2>/dev/null
         RENEWED_LINEAGE=/etc/letsencrypt/live/other.test sh {hook}
         RENEWED_LINEAGE={lineage} sh {hook}",
        hook = hook.display()
    ))
    .expect_ok("the deploy hook");
    let shown = format!(
        "openssl s_client -starttls smtp -connect {HERE}:25 </dev/null 2>/dev/null | openssl x509 -noout -serial; \
         openssl x509 -in {lineage}/fullchain.pem -noout -serial"
    );
    let serials = host.shell(&shown).stdout;
    let serials: Vec<&str> = serials.lines().collect();
    assert!(serials.len() == 2 && serials[0] == serials[1], "{serials:?}");

    // Unpacked once more: the program is replaced while it runs, and who is connected stays so.
    let main = host.property("gatepost.service", "MainPID");
    let mut stays = Client::over(host.host.connect(&format!("{HERE}:25")));
    stays.hello("road.test");
    host.shell(&install).expect_ok(&install);
    assert_eq!(host.property("gatepost.service", "MainPID"), main);
    // An earlier program's file would be deleted.
    assert_eq!(host.shell(&format!("readlink /proc/{main}/exe")).stdout.trim(), "/usr/sbin/gatepost");
    stays.deliver("sender@road.test", &format!("postmaster@{DOMAIN}"), "Subject: across\r\n\r\nx\r\n");
    holds("it is in the mailbox", SOON, || mailbox(&host.host).contains("Subject: across"));
    stays.ask("QUIT", 221);

    host.shell("dpkg --purge gatepost").expect_ok("purge");
    let left = "find /etc /usr/lib /usr/share /usr/sbin /var/spool /run -name '*gatepost*' -not -path '/run/log/*' -not -path '/run/over/*' \
                -not -path '/run/systemd/*' -not -path '/var/spool/postfix/*' -not -path '*/perl*'; getent passwd | grep gatepost; \
                getent group | grep gatepost; pgrep -a gatepost; true";
    assert_eq!(host.shell(left).said(), "");
    assert!(!host.host.listens(&format!("{HERE}:25")));
    std::fs::remove_dir_all(package.parent().unwrap()).unwrap();
}
