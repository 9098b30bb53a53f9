//! The house keeps its shape: arrows point down only, `unsafe` and the system crates live in one room.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A room: what of ours it may import, and which outside crates beyond [`EVERYWHERE`].
struct Room {
    name: &'static str,
    ours: &'static [&'static str],
    outside: &'static [&'static str],
}

const fn room(name: &'static str, ours: &'static [&'static str], outside: &'static [&'static str]) -> Room {
    Room { name, ours, outside }
}

/// May be imported by every role and by nothing below them.
const ROLE: &[&str] = &["smtp", "wire", "channel", "sys", "jail", "policy", "tls"];

const HOUSE: &[Room] = &[
    room("smtp", &[], &["memchr"]),
    room("wire", &[], &[]),
    room("sys", &[], &["nix", "libc", "caps", "rlimit", "seccompiler", "landlock"]),
    room("channel", &["wire", "sys"], &["tokio"]),
    room("jail", &["wire", "channel", "sys"], &["tracing"]),
    room("program", &["sys"], &[]),
    room("qmail", &[], &["memchr", "base64", "regex-lite", "zeroize"]),
    room("policy", &["smtp"], &[]),
    room("config", &["smtp", "policy", "wire"], &["toml", "serde"]),
    room("tls", &["wire"], &["rustls", "rustls-pki-types", "zeroize", "webpki", "rustls-webpki", "ring"]),
    room(
        "launcher",
        &["wire", "channel", "sys", "jail", "tls", "policy", "config"],
        &["sd-notify", "tracing", "zeroize"],
    ),
    room("listener", ROLE, &["tokio", "tracing"]),
    room("session", ROLE, &["tokio", "tokio-rustls", "rustls", "tracing"]),
    room("keyholder", ROLE, &["tracing", "zeroize"]),
    // A backend's protocol is qmail's own.
    room("handoff", &["smtp", "wire", "channel", "sys", "jail", "policy", "qmail"], &["tokio", "tracing"]),
    // The one role without a jail: what it runs, it runs by the room that knows how.
    room("queue", &["wire", "channel", "sys", "jail", "qmail", "program"], &["tracing"]),
    room("receiver", ROLE, &["tokio", "tracing"]),
    // No role, but two in one for a single connection: handoff and keyholder in the parent, the session in the child.
    room("qmail-smtpd", &["wire", "channel", "sys", "jail", "tls", "qmail", "program", "session", "keyholder"], &[]),
];

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(top())
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn short(name: &str) -> &str {
    name.strip_prefix("gatepost-").unwrap_or(name)
}

fn dependencies(package: &Value) -> Vec<String> {
    let all = package["dependencies"].as_array().unwrap();
    all.iter().filter(|d| d["kind"].is_null()).map(|d| d["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn arrows_point_down_only() {
    let packages = packages();
    for room in HOUSE {
        let package = packages.iter().find(|p| short(p["name"].as_str().unwrap()) == room.name);
        let package = package.unwrap_or_else(|| panic!("no room {}", room.name));
        for dependency in dependencies(package) {
            let allowed = match dependency.strip_prefix("gatepost-") {
                Some(ours) => room.ours.contains(&ours),
                None => room.outside.contains(&dependency.as_str()),
            };
            assert!(allowed, "{} may not import {dependency}: add it to HOUSE with a reason, or don't", room.name);
        }
    }
}

#[test]
fn no_room_is_without_a_charter_in_the_map() {
    let map = std::fs::read_to_string(top().join("crates/README.md")).unwrap();
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        if name != "gatepost-benches" {
            assert!(map.contains(&format!("`{}`", short(name))), "crates/README.md does not name {name}");
        }
    }
}

#[test]
fn unsafe_lives_in_sys_alone() {
    for package in packages() {
        let name = short(package["name"].as_str().unwrap()).to_owned();
        for target in package["targets"].as_array().unwrap() {
            let kind = target["kind"][0].as_str().unwrap();
            if !["lib", "bin"].contains(&kind) {
                continue;
            }
            let text = std::fs::read_to_string(target["src_path"].as_str().unwrap()).unwrap();
            assert_eq!(text.contains("#![forbid(unsafe_code)]"), name != "sys", "{name} ({kind})");
        }
    }
}

#[test]
fn every_room_keeps_the_workspace_lints() {
    for package in packages() {
        let manifest = std::fs::read_to_string(package["manifest_path"].as_str().unwrap()).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{}", package["name"]);
    }
}
