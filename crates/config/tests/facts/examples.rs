//! The examples and the pages, and the socket unit beside them.

use super::*;

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// What is shown as TOML in a page.
fn toml_blocks(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in page.lines().map(str::trim_start) {
        match &mut block {
            None if line == "```toml" => block = Some(String::new()),
            Some(_) if line == "```" => blocks.extend(block.take()),
            Some(block) => *block += &format!("{line}\n"),
            None => {}
        }
    }
    assert!(block.is_none(), "a block without an end");
    blocks
}

/// Parsed, not loaded: the files that an example names are the reader's.
#[test]
fn config_every_example_is_sound() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (mut files, mut blocks) = (0, 0);
    for path in
        [files_below(&top.join("examples")), vec![top.join("README.md"), top.join("systemd/README.md")]].concat()
    {
        let kind = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if !["toml", "md"].contains(&kind) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        if kind == "toml" {
            let config = Config::parse(&text, &path).unwrap_or_else(|faults| panic!("{faults}"));
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert!(
                ["minimal", "remote-backend", "submission", config.backend.profile.name()].contains(&name),
                "{name}"
            );
            files += 1;
        } else {
            for block in toml_blocks(&text).iter().filter(|block| block.contains("hostname =")) {
                Config::parse(block, &path).unwrap_or_else(|faults| panic!("{faults}\n{block}"));
                blocks += 1;
            }
        }
    }
    assert!(files >= 6 && blocks >= 1, "{files} files, {blocks} blocks");
}

#[test]
fn issue_10_the_examples_and_the_socket_unit_listen_where_the_default_does() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let default = parse(LEAST).listen[0].address.to_string();
    let mut examples = 0;
    for entry in std::fs::read_dir(top.join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let listen = parse(&std::fs::read_to_string(&path).unwrap()).listen;
            let found: Vec<(String, bool)> = listen.iter().map(|l| (l.address.to_string(), l.v6only)).collect();
            let relays = listen.iter().filter(|l| l.service == Service::Relay).count();
            assert_eq!((found.first(), relays), (Some(&(default.clone(), false)), 1), "{}", path.display());
            examples += 1;
        }
    }
    assert!(examples > 3, "{examples} examples");
    let unit = std::fs::read_to_string(top.join("systemd/gatepost.socket")).unwrap();
    let streams: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix("ListenStream=")).collect();
    assert_eq!(streams, [default.as_str()]);
    assert!(unit.lines().any(|line| line == "BindIPv6Only=both"), "{unit}");
}
