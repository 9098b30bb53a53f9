//! The manual that the binary carries: whole, and in order for man(1).

use crate::gate::GATEPOST;
use gatepost_config::keys::TABLES;
use gatepost_testkit::host::has;
use gatepost_testkit::run::run;
use gatepost_wire::event::Event;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn help(topic: &str) -> String {
    let ended = run(Command::new(GATEPOST).args(["help", topic]));
    assert!(ended.ok(), "{topic}: {}", ended.said());
    ended.stdout
}

/// Every page as a file of a directory of its own, with the directory.
fn written(name: &str) -> (PathBuf, Vec<PathBuf>) {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    run(Command::new(GATEPOST).args(["help", "--write"]).arg(&dir)).expect_ok("help --write");
    let sections = std::fs::read_dir(dir.join("man")).unwrap();
    let pages = sections.flat_map(|section| std::fs::read_dir(section.unwrap().path()).unwrap());
    let pages: Vec<PathBuf> = pages.map(|page| page.unwrap().path()).collect();
    (dir, pages)
}

#[test]
fn issue_13_groff_and_man_have_nothing_to_say_about_any_page() {
    let test = "issue_13_groff_and_man_have_nothing_to_say_about_any_page";
    if !has(test, &["groff", "man"]) {
        return;
    }
    let (dir, pages) = written("manual");
    assert!(pages.len() >= 11, "{pages:?}");
    for page in &pages {
        for width in ["80", "50"] {
            let groff =
                run(Command::new("groff").args(["-man", "-Tutf8", "-ww", "-z", &format!("-rLL={width}n")]).arg(page));
            assert!(groff.ok() && groff.said().is_empty(), "{}: {}", page.display(), groff.said());
        }
        let man = run(Command::new("man").env("MANWIDTH", "80").args(["--warnings", "-E", "UTF-8", "-l"]).arg(page));
        assert!(man.ok() && man.stderr.is_empty(), "{}: {}", page.display(), man.stderr);
        assert!(man.stdout.contains("NAME") && man.stdout.contains("SEE ALSO"), "{}", man.stdout);
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn issue_13_the_pages_have_every_key_event_field_and_option() {
    let keys = help("gatepost.toml");
    for table in TABLES {
        let heading = match (table.name, table.repeated) {
            ("", _) => "At the top".to_owned(),
            (name, true) => format!("[[{name}]]"),
            (name, false) => format!("[{name}]"),
        };
        let section = keys.split(&format!("\n  {heading}\n")).nth(1).expect(table.name);
        for key in table.keys {
            let entry = format!("\n    {} = ", key.name);
            assert!(section.contains(&entry), "[{}] {}", table.name, key.name);
        }
    }
    let log = help("log");
    for row in Event::TABLE {
        let section = log.split(&format!("\n  {} (", row.name)).nth(1).expect(row.name);
        for (field, _) in row.fields {
            assert!(section.contains(&format!("\n    {field}\n")), "{} {field}", row.name);
        }
    }
    let softlimit = help("softlimit");
    for option in
        run(Command::new(GATEPOST).arg("softlimit")).stderr.split('[').filter(|option| option.starts_with('-'))
    {
        assert!(softlimit.contains(&format!("\n    {}\n", &option[..2])), "softlimit {option}");
    }
    let tcpserver = help("tcpserver");
    let listed = run(Command::new(GATEPOST).args(["tcpserver", "--help"])).stdout;
    for option in listed.split_whitespace().filter(|word| word.starts_with('-')) {
        assert!(tcpserver.contains(option.trim_end_matches([',', ';'])), "tcpserver {option}");
    }
}

#[test]
fn issue_13_each_page_is_whole_and_names_pages_that_there_are() {
    let list = run(Command::new(GATEPOST).arg("help")).expect_ok("help").stdout;
    let pages: BTreeSet<&str> = list
        .lines()
        .skip_while(|line| !line.starts_with("Pages of the manual"))
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(pages.len() >= 11, "{list}");
    for page in &pages {
        let text = help(page);
        assert!(!text.contains("{{"), "{page}: a table is missing");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{page}: a line is too long");
        let (_, also) = text.split_once("SEE ALSO").expect(page);
        for word in also.split([',', ' ', '\n']).filter(|word| word.ends_with(')')) {
            let file = word.replace('(', ".").replace(')', "");
            assert!(pages.contains(file.as_str()) || file == "setrlimit.2", "{page}: {word}");
        }
    }
    assert!(!run(Command::new(GATEPOST).args(["help", "no-such-page"])).ok());
    // Each program that gatepost is has a page by its name.
    for (program, page) in
        [("qmail-smtpd", "gatepost-qmail(7)"), ("mailq", "sendmail(1)"), ("softlimit", "softlimit(1)")]
    {
        assert!(help(program).starts_with(page), "{program}");
    }
}

#[test]
fn issue_13_bash_reads_its_completions() {
    let (dir, _) = written("completions");
    let script = dir.join("bash-completion/completions/gatepost");
    let line = format!(
        ". {}; COMP_WORDS=(gatepost ser); COMP_CWORD=1; _gatepost gatepost ser gatepost; echo \"${{COMPREPLY[*]}}\"",
        script.display()
    );
    let completed = run(Command::new("bash").args(["-c", &line]));
    assert_eq!(completed.stdout.trim(), "serve", "{}", completed.said());
    for path in ["zsh/vendor-completions/_gatepost", "fish/vendor_completions.d/gatepost.fish"] {
        let script = std::fs::read_to_string(dir.join(path)).unwrap();
        assert!(script.contains("serve") && script.contains("audit"), "{path}");
    }
    std::fs::remove_dir_all(dir).unwrap();
}
