//! Issue 12, point 10: what `gatepost check` says of chains that openssl makes: a root, an intermediate certificate, a leaf.

use crate::check::check;
use crate::gate::{CERTIFICATE, HOSTNAME, KEY, config, prepare, rogue};
use gatepost_testkit::host::{self, Host};
use gatepost_testkit::rogue::Speaks;

/// `make NAME ISSUER KEY-OPTIONS SIGNATURE DAYS EXTENSIONS`: NAME.pem and NAME.key, signed by ISSUER's key.
const MAKE: &str = r#"set -e; mkdir -p /etc/chains; cd /etc/chains
make() {
  openssl genpkey $3 -out "$1.key"
  openssl req -new -key "$1.key" -subj "/CN=$1.test" -out "$1.csr"
  printf "$6" >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial "-$4" -days "$5" -extfile "$1.ext" -out "$1.pem"
}
rsa="-algorithm RSA -pkeyopt rsa_keygen_bits:2048" ec="-algorithm EC -pkeyopt ec_paramgen_curve:P-256"
ca='basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n' names="subjectAltName=DNS:NAME\nkeyUsage=digitalSignature\n"
server="${names}extendedKeyUsage=serverAuth\n"
openssl req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.pem -days 3650 -subj /CN=root.test
make between root "$rsa" sha256 1000 "$ca"
make weak root "-algorithm RSA -pkeyopt rsa_keygen_bits:1024" sha256 1000 "$ca"
make other root "$ec" sha256 1000 "$ca"
make ecdsa between "$ec" sha256 90 "$server"
make rsa between "$rsa" sha256 90 "$server"
make clients between "$ec" sha256 90 "${names}extendedKeyUsage=clientAuth\n"
make both between "$ec" sha256 90 "${names}extendedKeyUsage=clientAuth,serverAuth\n"
make any between "$ec" sha256 90 "${names}extendedKeyUsage=anyExtendedKeyUsage\n"
make plain between "$ec" sha256 90 "$names"
make old between "$ec" sha1 90 "$server"
make short between "$ec" sha256 10 "$server"
make elsewhere between "$ec" sha256 90 "subjectAltName=DNS:www.ok.test\n"
make ofweak weak "$ec" sha256 90 "$server"
make small between "-algorithm RSA -pkeyopt rsa_keygen_bits:1024" sha256 90 "$server"
"#;

/// What the files of a pair are made of, with the exit status of `check` and the rows about the certificate.
struct Row {
    certificates: &'static [&'static str],
    key: &'static str,
    status: i32,
    rows: &'static [&'static str],
}

const fn row(certificates: &'static [&'static str], status: i32, rows: &'static [&'static str]) -> Row {
    Row { certificates, key: certificates[0], status, rows }
}

/// A day has passed or not, by when it is looked at.
const ECDSA: &str = "ok|days left, with one more of its chain";

const ROWS: &[Row] = &[
    row(&["ecdsa", "between"], 0, &[ECDSA]),
    row(&["both", "between"], 0, &[ECDSA]),
    row(&["any", "between"], 0, &[ECDSA]),
    row(&["plain", "between"], 0, &[ECDSA]),
    row(&["rsa", "between"], 0, &["ok|belongs to its key: RSA of 2048 bits, "]),
    row(&["ecdsa", "between", "root"], 0, &["ok|with 2 more of its chain"]),
    row(&["ecdsa"], 2, &["ok|days left, alone in its file", "LOOK|append that one, be it a root of your own"]),
    row(&["clients", "between"], 2, &[ECDSA, "LOOK|is not for servers (its extended key usage lacks serverAuth)"]),
    row(&["old", "between"], 2, &[ECDSA, "LOOK|is signed with SHA-1 or MD5: senders that verify will not use it"]),
    row(
        &["ofweak", "weak"],
        2,
        &[ECDSA, "LOOK|certificate 2 of its chain has an RSA key of 1024 bits, fewer than 2048"],
    ),
    // One that lasts ten days in all is not late with nine.
    row(&["short", "between"], 0, &[ECDSA]),
    row(&["elsewhere", "between"], 2, &[ECDSA, "LOOK|is for www.ok.test, not for mx.ok.test"]),
    row(
        &["ecdsa", "root", "between"],
        2,
        &[
            "ok|with 2 more of its chain",
            "LOOK|certificate 1 of its chain is not signed by",
            "LOOK|certificate 2 of its chain is not",
        ],
    ),
    row(&["ecdsa", "other"], 2, &[ECDSA, "LOOK|certificate 1 of its chain is not signed by the one after it"]),
    row(&["small", "between"], 1, &["FAULT|"]),
    // The order in which some authorities send them: the leaf last.
    Row { certificates: &["between", "ecdsa"], key: "ecdsa", status: 1, rows: &["FAULT|"] },
    Row { certificates: &["ecdsa", "between"], key: "plain", status: 1, rows: &["FAULT|"] },
];

fn lay(host: &Host, row: &Row) {
    let files = row.certificates.iter().map(|name| format!("{name}.pem")).collect::<Vec<_>>().join(" ");
    let key = row.key;
    host.shell(&format!("cd /etc/chains && cat {files} >{CERTIFICATE} && cat {key}.key >{KEY}")).expect_ok("cat");
}

#[test]
fn issue_12_check_tells_what_senders_that_verify_find_in_a_chain() {
    let Some(host) = host::for_test("issue_12_check_tells_what_senders_that_verify_find_in_a_chain", &["openssl"])
    else {
        return;
    };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    prepare(&host);
    host.shell(&MAKE.replace("NAME", HOSTNAME)).expect_ok("chains");
    let subject = format!("certificate {CERTIFICATE}");
    for row in ROWS {
        lay(&host, row);
        let checked = check(&host, &config(&backend, ""));
        let what = format!("{:?} with the key of {}: {}", row.certificates, row.key, checked.said());
        assert_eq!(checked.status.code(), Some(row.status), "{what}");
        let about: Vec<&str> = checked.stdout.lines().filter(|line| line.contains(&subject)).collect();
        for wanted in row.rows {
            let (word, text) = wanted.split_once('|').unwrap();
            assert!(about.iter().any(|line| line.starts_with(word) && line.contains(text)), "{wanted}: {what}");
        }
        assert_eq!(about.len(), row.rows.len(), "{about:?}: {what}");
    }
}

#[test]
fn issue_12_check_looks_whether_our_certificate_for_a_backend_is_for_clients() {
    let name = "issue_12_check_looks_whether_our_certificate_for_a_backend_is_for_clients";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    prepare(&host);
    host.shell(&MAKE.replace("NAME", HOSTNAME)).expect_ok("chains");
    // Nobody is there: that is another row.
    for (of, rows) in [
        (&["clients", "between"][..], &[ECDSA][..]),
        (&["both", "between"], &[ECDSA]),
        (&["ecdsa", "between"], &[ECDSA, "LOOK|is not for clients (its extended key usage lacks clientAuth)"]),
        (&["clients"], &["ok|days left, alone in its file", "note|a backend that verifies it needs"]),
    ] {
        let files = of.iter().map(|name| format!("{name}.pem")).collect::<Vec<_>>().join(" ");
        host.shell(&format!("cd /etc/chains && cat {files} >own.pem && chmod 600 *.key")).expect_ok("cat");
        let keys = format!(
            "profile = \"smtp\"\nconnect = \"tcp:127.0.0.1:2525\"\ntls = \"starttls\"\nname = \"mx.ok.test\"\nca = \"/etc/chains/root.pem\"\n\
             certificate = \"/etc/chains/own.pem\"\nkey = \"/etc/chains/{}.key\"",
            of[0]
        );
        let checked = check(&host, &config(&keys, ""));
        let about: Vec<&str> =
            checked.stdout.lines().filter(|line| line.contains("certificate /etc/chains/own.pem")).collect();
        assert_eq!(about.len(), rows.len(), "{of:?}: {}", checked.said());
        for wanted in rows {
            let (word, text) = wanted.split_once('|').unwrap();
            assert!(about.iter().any(|line| line.starts_with(word) && line.contains(text)), "{wanted}: {about:?}");
        }
    }
}
