//! The Debian package, from `dpkg -i` to `dpkg --purge`: a new user's first hour, on a host with a real systemd and Postfix.

use crate::gate::{CONFIG, GATEPOST};
use crate::init;
use crate::stock_postfix::{self, DOMAIN, mailbox};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, AWAY, AWAY6, HERE, HERE6, has, source_tree};
use gatepost_testkit::run::{run, write_program};
use gatepost_testkit::systemd::SystemdHost;
use gatepost_testkit::wait::{SOON, holds};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

/// The version that is built here, and another.
const VERSIONS: [&str; 2] = ["0.1.0", "0.1.0+1"];

/// Copies of the programs under test as objcopy makes them, of that version; the path of the one that others lie beside.
fn copy(dir: &Path, version: &str, options: &[&str]) -> PathBuf {
    let program = dir.join("gatepost");
    let small = (env!("CARGO_BIN_EXE_gatepost-qmail-smtpd"), dir.join("gatepost-qmail-smtpd"));
    for (of, copy) in [(GATEPOST, program.clone()), small] {
        run(Command::new("objcopy").args(options).arg(of).arg(copy)).expect_ok("objcopy");
    }
    // The version stands in the file behind a mark, with room for a longer one.
    let mut octets = std::fs::read(&program).unwrap();
    let place = |text: &str| octets.windows(text.len()).position(|octets| octets == text.as_bytes());
    let at = place(&format!("gatepost's version is {}\0", VERSIONS[0])).expect("the mark of the version");
    let at = at + "gatepost's version is ".len();
    octets[at..at + version.len()].copy_from_slice(version.as_bytes());
    write_program(&program, &octets);
    program
}

/// The package of the program under test, as of that version: another one's program is another, too.
fn package(test: &str, version: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{version}"));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    let program = copy(&dir, version, &["--strip-all"]);
    let said = run(Command::new(&program).arg("--version")).expect_ok("--version").stdout;
    assert_eq!(said, format!("gatepost {version}\n"));
    let build = source_tree().join("systemd/deb/build");
    run(Command::new(build).env("XZ_LEVEL", "0").env("VERSION", version).arg(&program).arg(&dir))
        .expect_ok("systemd/deb/build");
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
    host.shell(&format!(
        "set -e; mkdir -p /run/over; {}{}{}",
        layer("/usr/lib"),
        layer("/usr/libexec"),
        layer("/usr/share")
    ))
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
    let package = package(test, VERSIONS[0]);
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
    let packages = VERSIONS.map(|version| package(test, version));
    install(&host, &packages[0]);

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

    upgrades_under_load(&host, &packages);

    host.shell("dpkg --purge gatepost").expect_ok("purge");
    let left = "find /etc /usr/lib /usr/share /usr/sbin /var/spool /run -name '*gatepost*' -not -path '/run/log/*' -not -path '/run/over/*' \
                -not -path '/run/systemd/*' -not -path '/var/spool/postfix/*' -not -path '*/perl*'; getent passwd | grep gatepost; \
                getent group | grep gatepost; pgrep -a gatepost; true";
    assert_eq!(host.shell(left).said(), "");
    assert!(!host.host.listens(&format!("{HERE}:25")));
    for package in packages {
        std::fs::remove_dir_all(package.parent().unwrap()).unwrap();
    }
}

fn install(host: &SystemdHost, package: &Path) {
    let install = format!("dpkg --force-confold --force-downgrade -i {}", package.display());
    host.shell(&install).expect_ok(&install);
}

/// Clients at once while the package is upgraded.
const CLIENTS: u32 = 6;

/// How many sessions there are at least while the package is upgraded, each with a message: by the environment more than CI has time for.
fn sessions() -> u32 {
    std::env::var("GATEPOST_TEST_SESSIONS").map_or(400, |number| number.parse().expect("a number of sessions"))
}

/// Clients come without a pause while another build is installed, and then the first again. None is refused, none is broken off, no
/// message is lost, and one client stays connected all the time.
fn upgrades_under_load(host: &SystemdHost, packages: &[PathBuf; 2]) {
    let address = format!("{HERE}:25");
    let main = host.property("gatepost.service", "MainPID");
    let mut stays = Client::over(host.host.connect(&address));
    stays.hello("road.test");
    let (sessions, next, served) = (sessions(), AtomicU32::new(0), AtomicU32::new(0));
    let (back, began) = (AtomicBool::new(false), Instant::now());
    let one_after_the_other = || {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            // An end, too, where upgrades fail.
            if (n >= sessions && back.load(Ordering::Relaxed)) || n > 20 * sessions {
                return;
            }
            // Everything but what is expected ends the test.
            let mut client = Client::over(host.host.connect(&address));
            client.hello("road.test");
            client.deliver(
                "sender@road.test",
                &format!("postmaster@{DOMAIN}"),
                &format!("Subject: load {n}\r\n\r\nx\r\n"),
            );
            client.ask("QUIT", 221);
            served.fetch_add(1, Ordering::Relaxed);
        }
    };
    let mut during = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(one_after_the_other);
        }
        for (package, version) in [(&packages[1], VERSIONS[1]), (&packages[0], VERSIONS[0])] {
            let before = served.load(Ordering::Relaxed);
            holds("clients to be served", SOON * 10, || served.load(Ordering::Relaxed) > before + sessions / 4);
            let before = served.load(Ordering::Relaxed);
            install(host, package);
            during.push(served.load(Ordering::Relaxed) - before);
            assert_eq!(host.property("gatepost.service", "MainPID"), main);
            let shown = host.shell("dpkg-query -W -f '${Version}' gatepost").stdout;
            assert_eq!(shown, format!("{version}-1"));
            // Which build runs, and that it is not an earlier program's file, which would be deleted.
            let same = format!(
                "cmp /proc/{main}/exe /usr/sbin/gatepost && [ $(readlink /proc/{main}/exe) = /usr/sbin/gatepost ]"
            );
            host.shell(&same).expect_ok("the new build runs");
            let status = host.shell("gatepost status").said();
            assert!(status.contains(&format!("program  {version}, the one that lies there;")), "{status}");
            let told = format!("launcher: reloaded what=Configuration version=\"{version}\"");
            holds("the journal to say which version runs", SOON, || host.journal("gatepost").contains(&told));
        }
        // P14: so much is said meanwhile that journald's socket is full.
        host.shell("systemctl kill --signal=STOP systemd-journald").expect_ok("stall journald");
        let before = served.load(Ordering::Relaxed);
        holds("clients to be served while journald stalls", SOON, || served.load(Ordering::Relaxed) > before + 500);
        host.shell("systemctl kill --signal=CONT systemd-journald").expect_ok("let journald go on");
        back.store(true, Ordering::Relaxed);
    });
    let sessions = served.load(Ordering::Relaxed);
    let took = began.elapsed();
    stays.deliver("across@road.test", &format!("postmaster@{DOMAIN}"), "Subject: across\r\n\r\nx\r\n");
    stays.ask("QUIT", 221);
    holds("the journal to have its line", SOON, || host.journal("gatepost").contains("from=\"across@road.test\""));
    let arrived = || -> Vec<String> {
        let text = mailbox(&host.host);
        text.lines()
            .filter(|line| line.starts_with("Subject: load ") || *line == "Subject: across")
            .map(str::to_owned)
            .collect()
    };
    let all = usize::try_from(sessions).unwrap() + 1;
    holds("all of it is in the mailbox", SOON * 10, || arrived().len() >= all);
    let mut each = arrived();
    each.sort();
    each.dedup();
    assert_eq!(each.len(), all);
    println!(
        "{sessions} sessions in {took:.1?} while {} was installed and {} again ({during:?} of them within the installations): 0 refused, 0 broken off, \
         0 lost, {} messages in the mailbox",
        VERSIONS[1],
        VERSIONS[0],
        each.len()
    );
}

/// The rpm of the program under test, built from the spec, and what is in it: what the Debian package has. Its scripts run at an
/// installation, an upgrade while it serves, and a removal.
#[test]
fn issue_13_an_rpm_is_built_from_the_spec_and_installs() {
    let test = "issue_13_an_rpm_is_built_from_the_spec_and_installs";
    if !has(test, &["rpmbuild", "strip", "dpkg-deb"]) {
        return;
    }
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(dir.join("root")).unwrap();
    let build = |version: &str, out: &str| {
        let program = copy(&dir, version, &["--strip-all"]);
        let out = dir.join(out);
        let mut build = Command::new(source_tree().join("systemd/rpm/build"));
        build.env("RPM_PAYLOAD", "w1.gzdio").env("VERSION", version);
        run(build.arg(&program).arg(&out)).expect_ok("systemd/rpm/build");
        std::fs::read_dir(&out).unwrap().next().expect("an rpm").unwrap().path()
    };
    let (rpm, again, newer) = (build(VERSIONS[0], "one"), build(VERSIONS[0], "two"), build(VERSIONS[1], "newer"));
    assert!(
        std::fs::read(&rpm).unwrap() == std::fs::read(&again).unwrap(),
        "the same program and source, other octets"
    );
    let root = dir.join("root");
    let mut install = Command::new("rpm");
    install.arg("--root").arg(&root).args(["-i", "--nodeps", "--noscripts"]).arg(&rpm);
    run(&mut install).expect_ok("rpm -i");
    run(Command::new("rpm").arg("--root").arg(&root).args(["-V", "--nodeps", "gatepost"])).expect_ok("rpm -V");
    let help = run(Command::new(root.join("usr/sbin/gatepost")).arg("--help"));
    assert!(help.ok(), "{}", help.said());
    for path in [
        "usr/lib/systemd/system/gatepost.service",
        "usr/lib/systemd/system/gatepost.socket",
        "usr/lib/sysusers.d/gatepost.conf",
        "usr/lib/tmpfiles.d/gatepost.conf",
        "usr/share/man/man5/gatepost.toml.5.gz",
        "usr/share/man/man1/tcpserver.1gatepost.gz",
        "usr/share/zsh/site-functions/_gatepost",
        "usr/share/doc/gatepost-0.1.0/examples/postfix.toml",
    ] {
        assert!(root.join(path).is_file(), "{path}");
    }
    let scripts = run(Command::new("rpm").args(["-qp", "--scripts"]).arg(&rpm)).stdout;
    assert!(!scripts.contains('%') && scripts.contains("systemd-sysusers gatepost.conf"), "{scripts}");
    rpm_scripts(test, &rpm, &newer);
    std::fs::remove_dir_all(dir).unwrap();
}

/// By Debian's rpm, on a host with systemd: what rpm's own scripts do there, they do on others.
fn rpm_scripts(test: &str, rpm: &Path, newer: &Path) {
    let Some(host) = machine(test) else { return };
    // What systemd has for rpm, and Fedora's rule for units: Debian's leaves them out.
    let helper = r#"#!/bin/sh
command=$1; shift
case $command in
  install-system-units) systemctl --no-reload preset "$@" ;;
  remove-system-units) systemctl --no-reload disable --now "$@" ;;
esac
"#;
    host.host.write_with("/usr/lib/systemd/systemd-update-helper", helper, 0o755);
    host.shell("mkdir -p /etc/systemd/system-preset; echo 'disable *' >/etc/systemd/system-preset/99-default.preset")
        .expect_ok("presets");
    let debian = "rpm --force-debian --nodeps";
    let installed = host.shell(&format!("{debian} -i {}", rpm.display())).expect_ok("rpm -i");
    assert!(!installed.said().contains("scriptlet failed"), "{}", installed.said());
    host.shell("getent passwd gatepost-session && getent group gatepost-admin && test -d /var/spool/gatepost/content")
        .expect_ok("accounts and the spool");
    assert_eq!(host.property("gatepost.service", "ActiveState"), "inactive");
    let made = host.shell("gatepost init").expect_ok("init");
    for step in init::steps(&made.stdout) {
        let typed = host.shell(step);
        assert!(typed.ok() || step == "gatepost check" && typed.status.code() == Some(2), "{step}: {}", typed.said());
    }
    let main = host.property("gatepost.service", "MainPID");
    let address = format!("{HERE}:25");
    let mut stays = Client::over(host.host.connect(&address));
    stays.hello("road.test");
    let upgraded = host.shell(&format!("{debian} -U {}", newer.display())).expect_ok("rpm -U");
    assert!(!upgraded.said().contains("scriptlet failed"), "{}", upgraded.said());
    holds("the new version to run", SOON, || {
        host.shell("gatepost status").said().contains(&format!("program  {}, the one that lies there;", VERSIONS[1]))
    });
    assert_eq!(host.property("gatepost.service", "MainPID"), main);
    stays.deliver("a@road.test", &format!("postmaster@{DOMAIN}"), "Subject: across\r\n\r\nx\r\n");
    drop(stays);
    deliver(&host, &address, &format!("postmaster@{DOMAIN}"), "after");
    let removed = host.shell("rpm --force-debian -e gatepost").expect_ok("rpm -e");
    assert!(!removed.said().contains("scriptlet failed"), "{}", removed.said());
    holds("it to have ended", SOON, || !host.host.listens(&address));
    assert!(!host.shell("test -e /usr/sbin/gatepost || systemctl is-enabled gatepost.service").ok());
}

/// The profile in force would be the kernel's to try; that it is one is seen by its parser.
#[test]
fn issue_13_apparmor_reads_the_profile() {
    let Some(host) = host::for_test("issue_13_apparmor_reads_the_profile", &["apparmor_parser"]) else { return };
    let profile = source_tree().join("systemd/apparmor/usr.sbin.gatepost");
    let read = |path: &str| host.shell(&format!("apparmor_parser --skip-kernel-load --skip-cache {path}"));
    read(&profile.display().to_string()).expect_ok("apparmor_parser");
    let text = std::fs::read_to_string(profile).unwrap();
    host.write("/run/broken", &text.replace("capability setuid", "capability setgod"));
    assert!(!read("/run/broken").ok());
}
