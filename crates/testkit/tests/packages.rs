//! The packages keep their order: each imports what the table says and nothing else, and `unsafe` and the system crates
//! are in one of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::Value;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A package without its prefix `gatepost-`, which of ours it imports, and which crates of others. What only its tests import
/// is not listed.
type Row = (&'static str, &'static str, &'static str);

/// Every package there is, lowest layer first: a package imports from the layers below its own only. The lists are exact: an
/// import that isn't listed fails, and so does an entry that isn't imported.
#[rustfmt::skip] // One line a package.
const LAYERS: &[&[Row]] = &[
    &[
        ("smtp", "", "memchr base64 zeroize"),
        ("sys", "", "nix libc caps rlimit seccompiler landlock"),
        ("ucspi", "", ""),
    ],
    &[
        ("wire", "smtp", "zeroize"),
    ],
    &[
        ("policy", "wire ucspi", "proxy-header regex-lite"),
    ],
    &[
        ("channel", "wire sys", "tokio zeroize"),
        ("program", "sys ucspi", ""),
        ("rules", "sys ucspi", ""),
        ("qmail", "smtp ucspi policy", "zeroize"),
    ],
    &[
        ("config", "smtp sys policy wire", "toml"),
        ("jail", "ucspi wire channel sys", "tracing"),
        ("log", "smtp wire channel sys", "serde_json tracing tracing-subscriber"),
        ("tls", "wire", "ml-kem rustls rustls-pki-types rustls-webpki zeroize"),
    ],
    &[
        // Needs the texts of all tables; what reads strangers never imports it.
        ("manual", "smtp wire config ucspi", "clap clap_complete pulldown-cmark"),
        ("role", "wire channel sys jail log", "tokio tracing"),
        ("shell", "smtp wire channel sys tls", "zeroize"),
    ],
    // One package a role. No role imports a role: they are in one layer.
    &[
        ("auth", "smtp wire channel sys jail log role policy", "argon2 base64 bcrypt hmac pbkdf2 sha-crypt sha2 subtle tokio tracing yescrypt zeroize"),
        // A role without a jail: what it runs, it runs by `program`.
        ("checker", "wire channel sys jail role program policy", "tracing zeroize"),
        ("dialer", "wire channel sys jail role", ""),
        ("handoff", "smtp wire channel sys jail log role tls shell policy qmail", "sha2 tokio tokio-rustls tracing"),
        ("keyholder", "wire channel sys jail log role policy tls", "tracing"),
        ("launcher", "smtp wire channel sys jail role tls config log", "sd-notify tracing"),
        ("listener", "smtp ucspi rules wire channel sys jail role log policy", "tokio tracing"),
        ("observer", "wire channel sys jail role log", "prometheus-client"),
        // Likewise.
        ("queue", "smtp wire channel sys jail role qmail program", "tracing"),
        ("receiver", "smtp wire sys jail role", "tracing"),
        ("resolver", "smtp wire channel jail role log policy", "domain tokio tracing"),
        // No tokio: this process reads strangers.
        ("session", "smtp wire channel sys jail role tls shell", "tracing"),
    ],
    // For a single connection: handoff and keyholder in one, the parent, and the session in the child.
    &[
        // Runs as any user, against the submission service.
        ("sendmail", "smtp sys ucspi", ""),
        ("inetd", "smtp rules wire channel sys jail role tls config log qmail shell launcher session handoff queue", "tokio tracing"),
        ("qmail-smtpd", "smtp wire channel sys jail tls qmail ucspi rules program shell", ""),
        // A program for each connection. The resolver is a library here, not a process.
        ("tcpserver", "smtp wire channel sys jail config resolver ucspi rules", "tokio sd-notify"),
    ],
    &[
        ("gatepost", "smtp wire sys jail role log config manual launcher listener session keyholder auth checker handoff dialer resolver queue receiver observer inetd qmail-smtpd tcpserver sendmail program rules", "clap rcgen tracing zeroize"),
    ],
    // Tests and measurements: nothing that is installed imports these.
    &[
        ("testkit", "smtp wire sys jail role log config launcher listener session keyholder auth checker handoff dialer resolver receiver observer", "base64 domain hmac memchr pbkdf2 rcgen rustls sha2 tracing"),
    ],
    &[
        ("benches", "smtp sys testkit", "fips203 rustls"),
        ("fuzz", "smtp wire policy tls config qmail auth resolver sendmail ucspi", "libfuzzer-sys domain"),
    ],
];

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// All packages: the workspace's, and that of `crates/fuzz`, which is a workspace of its own.
fn packages() -> Vec<Value> {
    ["Cargo.toml", "crates/fuzz/Cargo.toml"].iter().flat_map(|manifest| packages_of(&top().join(manifest))).collect()
}

fn packages_of(manifest: &Path) -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
        .arg(manifest)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn short(package: &Value) -> &str {
    let name = package["name"].as_str().unwrap();
    name.strip_prefix("gatepost-").unwrap_or(name)
}

/// What is linked into a package or run to build it: all but what its tests import.
fn imports(package: &Value) -> HashSet<&str> {
    let all = package["dependencies"].as_array().unwrap();
    all.iter().filter(|import| import["kind"] != "dev").map(|import| import["name"].as_str().unwrap()).collect()
}

#[test]
fn every_package_imports_what_the_table_says_and_nothing_else() {
    let packages = packages();
    let mut table: HashMap<&str, HashSet<String>> = HashMap::new();
    for (name, ours, others) in LAYERS.concat() {
        let ours = ours.split_whitespace().map(|name| format!("gatepost-{name}"));
        let all = ours.chain(others.split_whitespace().map(str::to_owned)).collect();
        assert!(table.insert(name, all).is_none(), "{name} stands twice in LAYERS");
    }
    let mut complaints = Vec::new();
    for package in &packages {
        let name = short(package);
        let Some(permitted) = table.remove(name) else {
            complaints.push(format!("{name} is not in LAYERS"));
            continue;
        };
        let imported = imports(package);
        let unlisted = imported.iter().filter(|import| !permitted.contains(**import));
        complaints.extend(unlisted.map(|import| format!("{name} imports {import}, which LAYERS does not permit")));
        let unused = permitted.iter().filter(|import| !imported.contains(import.as_str()));
        complaints.extend(unused.map(|import| format!("LAYERS permits {name} {import}, which it does not import")));
    }
    complaints.extend(table.keys().map(|name| format!("there is no package {name}")));
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn arrows_point_down_only() {
    let mut below: HashSet<&str> = HashSet::new();
    for layer in LAYERS {
        for (name, ours, _) in *layer {
            for import in ours.split_whitespace() {
                assert!(below.contains(import), "{name} may not import {import}: it is not in a layer below");
            }
        }
        below.extend(layer.iter().map(|(name, ..)| name));
    }
}

#[test]
fn every_package_is_in_the_map() {
    let map = std::fs::read_to_string(top().join("crates/README.md")).unwrap();
    for package in packages() {
        let name = short(&package);
        assert!(map.contains(&format!("`{name}`")), "crates/README.md does not name {name}");
    }
}

#[test]
fn every_file_that_the_map_names_is_there() {
    let crates = top().join("crates");
    let map = std::fs::read_to_string(crates.join("README.md")).unwrap();
    let quoted = map.split('`').skip(1).step_by(2);
    let paths: Vec<&str> =
        quoted.filter(|text| text.contains('/') && !text.contains([' ', '<']) && *text != "crates/").collect();
    assert!(paths.len() > 50, "{} paths", paths.len());
    let missing: Vec<&&str> = paths.iter().filter(|path| !crates.join(path).exists()).collect();
    assert!(missing.is_empty(), "crates/README.md names what is not there: {missing:?}");
}

/// What the table at the head of a `lib.rs` names that begins with `head`, each without its ending and what is below it; empty where
/// there is no such table.
fn named(lib: &str, head: &str) -> BTreeSet<String> {
    let rows = lib.lines().skip_while(|line| *line != head).skip(2).take_while(|line| line.starts_with("//! |"));
    let firsts = rows.filter_map(|row| row.split('|').nth(1));
    let quoted = firsts.flat_map(|first| first.split('`').skip(1).step_by(2));
    quoted.filter_map(|path| path.split(['/', '.']).next()).map(str::to_owned).filter(|name| name != "lib").collect()
}

/// The modules of a crate that are not tests alone.
fn modules(src: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(src).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names = entries.map(|name| name.trim_end_matches(".rs").to_owned());
    names
        .filter(|name| !["lib", "bin", "main", "tests"].contains(&name.as_str()) && !name.ends_with("_tests"))
        .collect()
}

#[test]
fn every_table_of_files_names_those_that_there_are() {
    let (mut tables, mut complaints) = (0, Vec::new());
    for package in packages() {
        let src = Path::new(package["manifest_path"].as_str().unwrap()).with_file_name("src");
        let Ok(lib) = std::fs::read_to_string(src.join("lib.rs")) else { continue };
        let (name, there) = (short(&package), modules(&src));
        let files = named(&lib, "//! | file | what |");
        // The most important ones alone.
        let chosen = named(&lib, "//! | module | charter |");
        tables += usize::from(!files.is_empty()) + usize::from(!chosen.is_empty());
        complaints
            .extend(files.union(&chosen).filter(|one| !there.contains(*one)).map(|one| format!("{name}: no {one}")));
        if !files.is_empty() {
            complaints.extend(there.difference(&files).map(|one| format!("{name}: {one} is not in the table")));
        }
    }
    assert!(tables > 10, "{tables}");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn unsafe_lives_in_sys_alone() {
    for package in packages() {
        let name = short(&package);
        for target in package["targets"].as_array().unwrap() {
            let kind = target["kind"][0].as_str().unwrap();
            if !["lib", "bin"].contains(&kind) {
                continue;
            }
            let text = std::fs::read_to_string(target["src_path"].as_str().unwrap()).unwrap();
            if name == "fuzz" && kind == "bin" {
                // What libFuzzer's macro makes of a target is unsafe, so it can't be forbidden; our part has none.
                assert!(!text.contains("unsafe"), "{}", target["name"]);
                continue;
            }
            assert_eq!(text.contains("#![forbid(unsafe_code)]"), name != "sys", "{name} ({kind})");
        }
    }
}

/// Features of gatepost-sys that building `package` turns on.
fn features_of_sys(package: &str) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--format", "{p} [{f}]", "--package", package])
        .current_dir(top())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    tree.lines().find(|line| line.contains("gatepost-sys ")).unwrap().to_owned()
}

#[test]
fn the_attempts_of_the_escape_room_are_not_built_into_what_is_installed() {
    assert!(features_of_sys("gatepost-testkit").contains("escape"));
    assert!(!features_of_sys("gatepost").contains("escape"));
}

#[test]
fn every_package_keeps_the_workspace_lints() {
    for package in packages_of(&top().join("Cargo.toml")) {
        let manifest = std::fs::read_to_string(package["manifest_path"].as_str().unwrap()).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{}", package["name"]);
    }
}

/// What reads strangers has no runtime: not by a crate in between either, nor by a feature of one.
#[test]
fn issue_8_no_session_links_a_runtime() {
    for package in ["gatepost-session", "gatepost-qmail-smtpd"] {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--package", package])
            .current_dir(top())
            .output()
            .unwrap();
        let tree = String::from_utf8_lossy(&output.stdout);
        assert!(tree.contains("gatepost-shell"), "{}", String::from_utf8_lossy(&output.stderr));
        let runtime: Vec<&str> =
            tree.lines().filter(|line| line.starts_with("tokio") || line.starts_with("mio ")).collect();
        assert!(runtime.is_empty(), "{package} links {runtime:?}");
    }
}

#[test]
fn issue_13_the_version_is_one() {
    let read = |path: &str| std::fs::read_to_string(top().join(path)).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let changes = read("CHANGELOG.md");
    let newest = changes.lines().find(|line| line.starts_with("## [")).unwrap_or_default();
    assert!(newest.starts_with(&format!("## [{version}] - ")), "CHANGELOG.md: {newest}");
    let spec = read("systemd/rpm/gatepost.spec");
    let stated = spec.lines().find_map(|line| line.strip_prefix("Version:")).unwrap_or_default();
    assert_eq!(stated.trim(), version, "gatepost.spec");
}
