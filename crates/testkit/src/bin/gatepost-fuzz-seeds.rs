//! `gatepost-fuzz-seeds DIRECTORY`: writes what fuzzing begins with, one directory per target of `crates/fuzz`. The SMTP dialogues
//! that the tests speak are the seeds, so that a fuzzer starts with octets that reach every state, and configurations are the
//! examples. Targets of other formats have no seeds.
#![forbid(unsafe_code)]

use gatepost_testkit::dialogue::{Row, prelude, table};
use gatepost_testkit::host::source_tree;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Distinct inputs of one target.
type Seeds = BTreeSet<Vec<u8>>;

/// All that the client says in a row, from its greeting on.
fn session(row: &Row) -> Vec<u8> {
    prelude(&row.prelude).concat().into_bytes().into_iter().chain(row.steps.concat()).collect()
}

/// In front of what a target reads whole and in segments stands an octet that chooses the segments.
fn in_segments(octets: &[u8]) -> Vec<u8> {
    [b"\x05", octets].concat()
}

/// The command lines, without their ends. What is content looks like one here and there, and does no harm.
fn lines(rows: &[Row]) -> Vec<String> {
    let said = rows.iter().filter(|row| row.prelude != "data").flat_map(|row| &row.steps);
    let texts = said.map(|step| String::from_utf8_lossy(step).into_owned());
    texts.flat_map(|text| text.split("\r\n").map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The arguments of MAIL and RCPT, from their path on.
fn paths(lines: &[String]) -> Seeds {
    lines.iter().filter_map(|line| line.find('<').map(|start| line.as_bytes().split_at(start).1.to_vec())).collect()
}

fn contents(rows: &[Row]) -> impl Iterator<Item = Vec<u8>> {
    rows.iter().filter(|row| row.prelude == "data").map(|row| row.steps.concat())
}

fn examples() -> io::Result<Seeds> {
    let files = fs::read_dir(source_tree().join("examples"))?.collect::<io::Result<Vec<_>>>()?;
    let toml = files.iter().map(fs::DirEntry::path).filter(|path| path.extension().is_some_and(|kind| kind == "toml"));
    toml.map(fs::read).collect()
}

/// Sources of rules, whole, and with octets that damage what is compiled of them.
fn rules() -> io::Result<Seeds> {
    let sources = fs::read_to_string(source_tree().join("crates/ucspi/tests/sources.txt"))?;
    let damaged = |source: &str| [source.as_bytes(), b"\0\0\x08\x04\x09\x00\x28\xff"].concat();
    let sources = sources.split("--- ").filter_map(|part| part.split_once('\n')).map(|(_, source)| source);
    Ok(sources.flat_map(|source| [source.into(), damaged(source)]).collect())
}

/// PROXY headers, whole and with a line behind them.
fn headers() -> io::Result<Seeds> {
    let file = fs::read_to_string(source_tree().join("crates/policy/tests/proxy_headers.txt"))?;
    let hex = file.lines().filter_map(|line| line.split_once(' ')).map(|(_, hex)| hex);
    let octet = |hex: &str, at: usize| u8::from_str_radix(hex.get(at..at.saturating_add(2))?, 16).ok();
    let binary = hex.filter_map(|hex| (0..hex.len()).step_by(2).map(|at| octet(hex, at)).collect::<Option<Vec<u8>>>());
    let line = b"PROXY TCP6 2001:db8::9 2001:db8::1 4713 25\r\nEHLO a.test\r\n".to_vec();
    Ok(binary.chain([line]).map(|header| in_segments(&header)).collect())
}

/// tcpserver's command lines, each argument to end with a NUL, and answers by RFC 1413.
const TCPSERVER: &[&str] = &[
    "-vRHl0 -x rules.cdb -c40 -u 100 -g 100 0 smtp rblsmtpd qmail-smtpd",
    "-1UXpPhHrRoOdDqQv46 -I eth0 -C 2 -- 127.0.0.1 25 true",
    "--per-address 2 --address-rate=20/1m --drain 5s --data 4M --seccomp ~mount --namespaces net 0 25 x",
    "-Z",
    "-c",
    "40000 , 25 : USERID : UNIX : joe\r\n",
    "40000 , 25 : ERROR : NO-USER\r\n",
];

fn command_lines() -> Seeds {
    let ended = |seed: &&str| if seed.starts_with('-') { seed.replace(' ', "\0") } else { (*seed).to_owned() };
    TCPSERVER.iter().map(ended).map(|seed| in_segments(seed.as_bytes())).collect()
}

/// Entries of a table behind an octet that says where they end.
const TABLE: &str = "\x40a@b.test\n@b.test\n@.b.test\n/^[0-9]+@(a|b)$/\n.b.test\n\"x\"@b.test\n";

/// A command line of sendmail's, an argument a line, that is a message as well.
const SENDMAIL: &str = "-t\n-i\n-fme@ok.test\nroot\n\n\nx";
const MESSAGE: &str = "From joe Mon\nTo: A <a@ok.test>, \"B, C\" <@r.test:b@ok.test>,\n friends: c@[192.0.2.1] (x (y));\nBcc: d\nSubject: s\n\n.\na\rb\n";

fn write(directory: &Path, target: &str, seeds: &Seeds) -> io::Result<()> {
    let source: PathBuf = source_tree().join(format!("crates/fuzz/src/bin/{target}.rs"));
    if seeds.is_empty() || !source.exists() {
        return Err(io::Error::other(format!("{} seeds for the target {target}", seeds.len())));
    }
    let directory = directory.join(target);
    fs::create_dir_all(&directory)?;
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(directory.join(number.to_string()), seed)?;
    }
    println!("{target}: {} seeds", seeds.len());
    Ok(())
}

/// A line of each kind of hash.
const PASSWD: &str = "# logins
a:$argon2id$v=19$m=65536,t=3,p=1$+EbR2TNYA/91132B2LcH3Q$bE/CsXICLSavWLX43XIaYGvFJ6q+QNofBkxGt5LJzO0
b:$2b$05$ym.1.W2GyZLffGpp9WvzA.TqFXMEbJVAfOT8.QbBsKmbuEpgM9Qv2:1000::/home/b
c:{SHA512-CRYPT}$6$b67V62LAFwVsLD71$E0UztPnBBvRIEgNlE0OrhCjlTgeiRTP1iO4RKJ0Bz55IeIKwRr8TMBmkKN/pPtmded0zEEk80jbSg7ej/2gKS.
d:$y$j75$abcdefghijk1234567890.$cF5T3/8vvVWPv/lGI23WOSWow5OmCvNuGz1juHQGyU/
";

fn main() -> io::Result<()> {
    let directory = env::args_os().nth(1).map(PathBuf::from).ok_or_else(|| io::Error::other("which directory?"))?;
    let rows = table();
    let lines = lines(&rows);
    let dialogues: Seeds = rows.iter().map(|row| in_segments(&session(row))).collect();
    let segmented: Seeds = contents(&rows).map(|content| in_segments(&content)).collect();
    write(&directory, "proxy_header", &headers()?)?;
    write(&directory, "dialogue", &dialogues)?;
    write(&directory, "qmail_dialogue", &dialogues)?;
    write(&directory, "command_line", &lines.iter().map(|line| line.as_bytes().to_vec()).collect())?;
    write(&directory, "address", &paths(&lines))?;
    write(&directory, "data_stream", &contents(&rows).collect())?;
    for target in ["bdat_to_data", "header", "qmail_content"] {
        write(&directory, target, &segmented)?;
    }
    write(&directory, "passwd", &[PASSWD.as_bytes().to_vec()].into())?;
    write(&directory, "rules", &rules()?)?;
    write(&directory, "sendmail", &[SENDMAIL, MESSAGE].into_iter().map(|text| text.as_bytes().to_vec()).collect())?;
    write(&directory, "tcpserver", &command_lines())?;
    write(&directory, "tables", &[TABLE.as_bytes().to_vec()].into())?;
    write(&directory, "config", &examples()?)
}
