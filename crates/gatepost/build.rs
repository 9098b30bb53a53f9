//! How the program is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=no-unwind.ld");
    // Of the daemon's program alone: it needs more address space, which those that are started under `softlimit` may not have. Text,
    // read-only data and data each begin at a huge page of their own, so that all but the last can be moved to such pages
    // (`gatepost_sys::huge`). What is relocated ends with a small page, not with a huge one.
    for option in ["max-page-size=0x200000", "common-page-size=4096", "separate-loadable-segments"] {
        println!("cargo::rustc-link-arg-bin=gatepost=-Wl,-z,{option}");
    }
    // The small program, for `softlimit -m`: without tables for unwinding.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        let directory = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        for option in [format!("-T,{directory}/no-unwind.ld"), "--no-eh-frame-hdr".to_owned()] {
            println!("cargo::rustc-link-arg-bin=gatepost-qmail-smtpd=-Wl,{option}");
        }
    }
}
