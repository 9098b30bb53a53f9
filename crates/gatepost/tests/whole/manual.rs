//! The manual that the binary carries: whole, and in order for man(1).

use crate::gate::GATEPOST;
use gatepost_config::TABLES;
use gatepost_testkit::host::has;
use gatepost_testkit::run::run;
use gatepost_wire::event::Event;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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

/// A zsh on a terminal of its own is typed `$2` and TAB, and shows what its line is then.
const ZSH: &str = r#"
    zmodload zsh/zpty
    zpty shell zsh -f
    zpty -w shell "fpath=(${1:h} \$fpath); autoload -Uz compinit; compinit -u -D
        show() { print -r -- \"<\$BUFFER>\" }; zle -N show; bindkey '^X' show; print is' 'ready"
    zpty -r shell shown '*is ready*'
    zpty -w -n shell "$2"$'\t\x18'
    zpty -r shell shown '*<*>*'
    print -r -- "${${shown##*<}%%>*}"
"#;

const BASH: &str = r#"
    . "$1"
    COMP_WORDS=($2) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _gatepost gatepost "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
    echo "${COMPREPLY[*]}"
"#;

const FISH: &str = r"
    source $argv[1]
    complete -C $argv[2] | string replace -r '\t.*' ''
";

#[test]
fn issue_13_each_shell_completes_by_its_file() {
    let test = "issue_13_each_shell_completes_by_its_file";
    if !has(test, &["bash", "zsh", "fish"]) {
        return;
    }
    let (dir, _) = written("completions");
    for (shell, options, file, [command, option]) in [
        ("bash", ["-c", BASH, "bash"], "bash-completion/completions/gatepost", ["check", "--config"]),
        (
            "zsh",
            ["-fc", ZSH, "zsh"],
            "zsh/vendor-completions/_gatepost",
            ["gatepost check ", "gatepost serve --config="],
        ),
        ("fish", ["--no-config", "-c", FISH], "fish/vendor_completions.d/gatepost.fish", ["check", "--config"]),
    ] {
        for (typed, completed) in [("gatepost ch", command), ("gatepost serve --conf", option)] {
            let mut command = Command::new("timeout");
            command.args(["20", shell]).args(options).arg(dir.join(file)).arg(typed);
            let ran = run(command.env("TERM", "dumb").env("HOME", &dir).stdin(Stdio::null()));
            assert_eq!(ran.stdout.trim_end_matches('\n'), completed, "{shell}, {typed}: {}", ran.said());
        }
    }
    std::fs::remove_dir_all(dir).unwrap();
}
