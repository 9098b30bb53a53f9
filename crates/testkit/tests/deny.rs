//! What `deny.toml` says of licences, banned crates, versions and sources, held in every run of the tests. `cargo deny`, which
//! also knows the advisories, is several hundred crates to compile and wants the network: `.ci/run` runs it where it is installed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use toml::de::DeTable;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// The part of `deny.toml` that is held here. `cargo deny` reads the rest of it too.
#[derive(Debug, Default)]
struct Rules {
    targets: Vec<String>,
    licences: HashSet<String>,
    banned: HashSet<String>,
    /// May be there in more than one version: the name, and the start of the version that is passed over.
    skipped: Vec<(String, String)>,
    registries: Vec<String>,
}

impl Rules {
    fn read() -> Self {
        let text = std::fs::read_to_string(top().join("deny.toml")).unwrap();
        let page = DeTable::parse(&text).unwrap();
        let list = |section: &str, name: &str| -> Vec<String> {
            let entries = page.get_ref()[section].get_ref()[name].get_ref().as_array().unwrap();
            entries
                .iter()
                .map(|entry| entry.get_ref().get("crate").unwrap_or(entry).get_ref().as_str().unwrap().to_owned())
                .collect()
        };
        for section in ["unknown-registry", "unknown-git"] {
            assert_eq!(page.get_ref()["sources"].get_ref()[section].get_ref().as_str(), Some("deny"), "{section}");
        }
        assert_eq!(page.get_ref()["bans"].get_ref()["multiple-versions"].get_ref().as_str(), Some("deny"));
        let versioned = |entry: &String| {
            let (name, version) = entry.split_once('@').expect("a skipped crate has a version");
            (name.to_owned(), version.to_owned())
        };
        Self {
            targets: list("graph", "targets"),
            licences: list("licenses", "allow").into_iter().collect(),
            banned: list("bans", "deny").into_iter().collect(),
            skipped: list("bans", "skip").iter().map(versioned).collect(),
            registries: list("sources", "allow-registry"),
        }
    }
}

/// A crate of somebody else's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Crate {
    name: String,
    version: String,
    licence: String,
    source: String,
    /// What is installed needs it.
    shipped: bool,
}

/// What cargo knows of this workspace on `target`. It may have to fetch what only that target needs.
fn metadata(target: &str) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--all-features", "--locked", "--filter-platform", target])
        .current_dir(top())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata for {target}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What is linked or run to build it on `target`.
fn crates(target: &str) -> Vec<Crate> {
    let metadata = metadata(target);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let nodes: HashMap<String, &Value> =
        metadata["resolve"]["nodes"].as_array().unwrap().iter().map(|node| (text(&node["id"]), node)).collect();
    let packages = metadata["packages"].as_array().unwrap();
    let mut ahead: Vec<String> =
        packages.iter().filter(|package| package["name"] == "gatepost").map(|package| text(&package["id"])).collect();
    let mut shipped = HashSet::new();
    while let Some(id) = ahead.pop() {
        if shipped.insert(id.clone()) {
            let imports = nodes[&id]["deps"].as_array().unwrap().iter();
            let outside_tests =
                |import: &&Value| import["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"] != "dev");
            ahead.extend(imports.filter(outside_tests).map(|import| text(&import["pkg"])));
        }
    }
    let others = packages.iter().filter(|package| !package["source"].is_null());
    others
        .map(|package| Crate {
            name: text(&package["name"]),
            version: text(&package["version"]),
            licence: text(&package["license"]),
            source: text(&package["source"]),
            shipped: shipped.contains(&text(&package["id"])),
        })
        .collect()
}

/// Whether an SPDX expression can be met by `allowed` licences. `/` is the old way to write OR; AND binds closer than OR.
fn is_met(expression: &str, allowed: &HashSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut words = words.as_slice();
    any_of(&mut words, allowed) && words.is_empty()
}

fn any_of(words: &mut &[&str], allowed: &HashSet<String>) -> bool {
    let mut met = all_of(words, allowed);
    while let ["OR", rest @ ..] = words {
        *words = rest;
        met |= all_of(words, allowed);
    }
    met
}

fn all_of(words: &mut &[&str], allowed: &HashSet<String>) -> bool {
    let mut met = one(words, allowed);
    while let ["AND", rest @ ..] = words {
        *words = rest;
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut &[&str], allowed: &HashSet<String>) -> bool {
    let Some((first, rest)) = words.split_first() else { return false };
    *words = rest;
    if *first != "(" {
        return allowed.contains(*first);
    }
    let met = any_of(words, allowed);
    let Some((&")", rest)) = words.split_first() else { return false };
    *words = rest;
    met
}

/// What `rules` have against `crates`.
fn complaints(rules: &Rules, crates: &[Crate]) -> BTreeSet<String> {
    let mut complaints = BTreeSet::new();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut skipped = HashSet::new();
    for Crate { name, version, licence, source, shipped } in crates {
        if rules.banned.contains(name) {
            complaints.insert(format!("{name} is banned"));
        }
        if !is_met(licence, &rules.licences) {
            complaints.insert(format!("{name} {version}: its licence, {licence:?}, is not allowed"));
        }
        if !rules.registries.iter().any(|registry| *source == format!("registry+{registry}")) {
            complaints.insert(format!("{name} {version} comes from {source}"));
        }
        let of_skipped = |(of, start): &&(String, String)| of == name && version.starts_with(&format!("{start}."));
        match rules.skipped.iter().find(of_skipped) {
            Some(skip) => _ = skipped.insert(skip),
            None if *shipped => versions.entry(name).or_default().push(version),
            None => {}
        }
    }
    let several = versions.into_iter().filter(|(_, versions)| versions.len() > 1);
    complaints.extend(several.map(|(name, versions)| format!("{name} is there as {}", versions.join(" and "))));
    let unused = rules.skipped.iter().filter(|skip| !skipped.contains(skip));
    complaints.extend(unused.map(|(name, version)| format!("nothing needs {name}@{version} to be skipped any more")));
    complaints
}

#[test]
fn everything_linked_is_as_deny_toml_says() {
    let rules = Rules::read();
    assert!(!rules.targets.is_empty() && !rules.banned.is_empty());
    for target in &rules.targets {
        let complaints = complaints(&rules, &crates(target));
        assert!(complaints.is_empty(), "{target}:\n{}", Vec::from_iter(complaints).join("\n"));
    }
}

#[test]
fn no_crate_wants_a_newer_compiler_than_ours() {
    let version = |package: &Value| -> Option<Vec<u32>> {
        Some(
            package["rust_version"].as_str()?.split('.').map(|part| part.parse().unwrap()).chain([0]).take(3).collect(),
        )
    };
    for target in Rules::read().targets {
        let metadata = metadata(&target);
        let (ours, others): (Vec<&Value>, Vec<&Value>) =
            metadata["packages"].as_array().unwrap().iter().partition(|package| package["source"].is_null());
        let ours = ours.into_iter().map(|package| version(package).expect("rust-version")).min().unwrap();
        for package in others {
            assert!(
                version(package).is_none_or(|wanted| wanted <= ours),
                "{} wants {}",
                package["name"],
                package["rust_version"]
            );
        }
    }
}

#[test]
fn what_deny_toml_forbids_is_seen() {
    let rules = Rules {
        licences: ["MIT", "ISC"].map(str::to_owned).into(),
        banned: ["openssl-sys".to_owned()].into(),
        skipped: vec![("syn".to_owned(), "2".to_owned())],
        registries: vec!["https://crates.test".to_owned()],
        ..Rules::default()
    };
    let known = |name: &str, version: &str| Crate {
        name: name.to_owned(),
        version: version.to_owned(),
        licence: "MIT".to_owned(),
        source: "registry+https://crates.test".to_owned(),
        shipped: true,
    };
    let twice = [known("a", "1.0.0"), known("a", "2.0.0")];
    let cases: [(&str, Vec<Crate>, usize); 7] = [
        ("nothing", vec![known("syn", "2.0.1"), known("syn", "3.0.0")], 0),
        ("banned", vec![known("syn", "2.0.1"), known("openssl-sys", "0.9.1")], 1),
        ("licence", vec![known("syn", "2.0.1"), Crate { licence: "GPL-3.0".into(), ..known("a", "1.0.0") }], 1),
        (
            "source",
            vec![known("syn", "2.0.1"), Crate { source: "git+https://a.test".into(), ..known("a", "1.0.0") }],
            1,
        ),
        ("twice", [vec![known("syn", "2.0.1")], twice.to_vec()].concat(), 1),
        (
            "twice in tests",
            vec![known("syn", "2.0.1"), Crate { shipped: false, ..known("a", "1.0.0") }, known("a", "2.0.0")],
            0,
        ),
        ("useless skip", vec![known("syn", "20.0.1")], 1),
    ];
    for (what, crates, expected) in cases {
        let found = complaints(&rules, &crates);
        assert_eq!(found.len(), expected, "{what}: {found:?}");
    }
    for (expression, met) in [
        ("MIT", true),
        ("GPL-2.0", false),
        ("GPL-2.0 OR MIT", true),
        ("GPL-2.0/MIT", true),
        ("GPL-2.0 AND MIT", false),
        ("(GPL-2.0 OR MIT) AND ISC", true),
        ("GPL-2.0 AND ISC OR MIT", true),
        ("MIT AND (GPL-2.0", false),
        ("", false),
    ] {
        assert_eq!(is_met(expression, &rules.licences), met, "{expression}");
    }
}
