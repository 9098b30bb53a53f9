//! Files that a configuration names: domains, networks, tables.

use super::*;

/// A directory that is gone with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gatepost-config-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A configuration whose domains stand in `domains`.
    fn config(&self, domains: &Path) -> PathBuf {
        let line = format!("domains_file = \"{}\"", domains.display());
        self.write("gatepost.toml", LEAST.replace("domains = [\"Example.org\", \".example.net\"]", &line))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn issue_12_a_database_of_domains_is_one_and_is_not_empty() {
    let scratch = Scratch::new("domains-cdb");
    let path = scratch.0.join("domains.cdb");
    let line = format!("domains_cdb = \"{}\"", path.display());
    let config = scratch.write("gatepost.toml", LEAST.replace("domains = [\"Example.org\", \".example.net\"]", &line));
    for (octets, fault) in [
        (None, "cannot be read"),
        (Some(2047), "no constant database"),
        (Some(2048), "there is no domain in it"),
        (Some(2060), ""),
    ] {
        octets.map(|octets| scratch.write("domains.cdb", vec![0; octets]));
        let said = Config::load(&config).map_or_else(|faults| faults.to_string(), |_| String::new());
        assert!(said.contains(fault) && said.is_empty() == fault.is_empty(), "{octets:?}: {said}");
    }
    let mut config = Config::load(&config).unwrap();
    assert_eq!(config.table_files().collect::<Vec<_>>(), [path.as_path()]);
    assert_eq!(config.tables_slice(Vec::new()).domains.len(), 2060);
    assert!(!config.renew_table(0).unwrap());
    // What makes it has failed: what was there before stays.
    scratch.write("domains.cdb", vec![0; 2048]);
    assert!(config.renew_table(0).is_err());
    assert_eq!(config.tables_slice(Vec::new()).domains.len(), 2060);
    scratch.write("domains.cdb", vec![0; 2064]);
    assert!(config.renew_table(0).unwrap());
    assert_eq!(config.tables_slice(Vec::new()).domains.len(), 2064);
}

#[test]
fn config_domains_file_is_read_line_by_line() {
    let scratch = Scratch::new("domains");
    let domains = scratch.write("domains", "# ours\nExample.org\r\n\n  .sub.test  # all below\nlast.test");
    let config = Config::load(&scratch.config(&domains)).unwrap();
    assert_eq!(config.relay.domains, ["example.org", ".sub.test", "last.test"]);
    assert_eq!(config.relay.domains_file, Some(domains));
}

#[test]
fn issue_12_files_of_networks_are_read_and_read_anew() {
    let scratch = Scratch::new("networks");
    let clients = scratch.write("clients", "# ours\n192.0.2.0/24 # office\n\n2001:db8::1\n");
    let partners = scratch.write("partners", "192.0.2.7\n198.51.100.0/24\n");
    let (clients_text, partners_text) = (clients.display(), partners.display());
    let text = LEAST.replace("[backend]", &format!("clients_file = \"{clients_text}\"\n[backend]"));
    let blocks = format!(
        "[[network]]\nnetworks_file = \"{partners_text}\"\nmessage_size = \"1MiB\"\n\
         [[network]]\nnetworks = [\"0.0.0.0/0\"]\nsessions_per_address = 3\n"
    );
    let mut config = Config::load(&scratch.write("gatepost.toml", format!("{text}{blocks}"))).unwrap();
    let terms = |config: &Config, ip: &str| {
        let Terms { relay, message_size, sessions_per_address, .. } = config.terms(ip.parse().unwrap());
        (relay, message_size, sessions_per_address)
    };
    for (ip, expected) in [
        ("192.0.2.7", (true, 1 << 20, 0)),
        ("192.0.2.8", (true, 0, 3)),
        ("198.51.100.1", (false, 1 << 20, 0)),
        ("203.0.113.1", (false, 0, 3)),
        ("2001:db8::1", (true, 0, 0)),
        ("2001:db8::2", (false, 0, 0)),
    ] {
        assert_eq!(terms(&config, ip), expected, "{ip}");
    }
    assert_eq!(config.renew_networks(0), Ok(false));
    scratch.write("partners", "203.0.113.1\n");
    assert_eq!(config.renew_networks(1), Ok(true));
    assert_eq!((terms(&config, "203.0.113.1").1, terms(&config, "198.51.100.1").1), (1 << 20, 0));
    // Whatever is wrong with it, what was there before holds.
    for (wrong, what) in [
        ("", "there is no network in it"),
        ("203.0.113.1/24\n", "bits are set beyond the prefix"),
        ("0.0.0.0/0\n", "would let everyone relay"),
    ] {
        scratch.write("clients", wrong);
        let faults = config.renew_networks(0).unwrap_err().to_string();
        assert!(faults.contains(what), "{faults}");
        assert_eq!(terms(&config, "2001:db8::1"), (true, 0, 0), "{what}");
    }
    let many: String = (0..NETWORKS_MAX).map(|n| format!("2001:db8:{n:x}::/48\n")).collect();
    scratch.write("clients", &many);
    assert!(config.renew_networks(0).unwrap_err().to_string().contains("65536 are taken in all files together"));
    assert!(Config::load(&scratch.0.join("gatepost.toml")).unwrap_err().to_string().contains("in all together"));
    std::fs::remove_file(clients).unwrap();
    assert!(config.renew_networks(0).unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn config_domains_file_faults_are_located_in_it() {
    let scratch = Scratch::new("faulty-domains");
    let domains = scratch.write("domains", "fine.test\n   *.bad.test # all\njoe@bad.test\n");
    let path = scratch.config(&domains);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}identity = \"none\"\n")).unwrap();
    let faults = Config::load(&path).unwrap_err();
    let places: Vec<_> = faults.iter().map(|fault| (fault.file().to_owned(), fault.position().unwrap())).collect();
    assert_eq!(places, [(domains.clone(), (2, 4)), (domains.clone(), (3, 1)), (path.clone(), (11, 12))], "{faults}");
    let shown = format!(
        "{}:2:4: \"*.bad.test\": a star stands for nothing here: a leading dot covers subdomains\n  |\n\
         2 |    *.bad.test # all\n  |    ^^^^^^^^^^\n  = write \".bad.test\"\n",
        domains.display()
    );
    assert!(faults.to_string().starts_with(&shown), "{faults}");
}

#[test]
fn config_a_wrong_file_of_domains_is_not_shown_whole() {
    let scratch = Scratch::new("many-faults");
    let domains = scratch.write("domains", "a@b.test\n".repeat(5000));
    let faults = Config::load(&scratch.config(&domains)).unwrap_err();
    assert_eq!(faults.iter().count() + faults.more(), 5000);
    assert!(faults.to_string().ends_with("\nand 4900 more\n"));
}

#[test]
fn config_unreadable_files_are_named() {
    let scratch = Scratch::new("unreadable");
    let absent = scratch.0.join("absent");
    let binary = scratch.write("binary", b"hostname = \"m\xffx\"\n");
    let octet = format!("{}:1:14: the octet 0xff is no UTF-8", binary.display());
    let check = |path: &Path, fragment: &str| {
        let faults = Config::load(path).unwrap_err();
        assert_eq!(faults.iter().count(), 1, "{faults}");
        assert!(faults.to_string().contains(fragment), "{fragment:?} in\n{faults}");
    };
    check(&absent, &format!("{}: cannot be read: ", absent.display()));
    check(&scratch.0, "name the file, not its directory");
    check(&binary, &octet);
    check(
        &scratch.config(&scratch.write("none", "# none yet\n\n")),
        "relay.domains_file: there is no domain in the file",
    );
    check(&scratch.config(&absent), "relay.domains_file: cannot be read: ");
    check(&scratch.config(&binary), &octet);
}

#[test]
fn issue_12_tables_are_read_from_the_configuration_and_their_files() {
    let scratch = Scratch::new("tables");
    let (list, cdb) = (scratch.write("list", "@a.test\n/^x/ # y\n"), scratch.write("cdb", "\0".repeat(2048)));
    let text = format!(
        "{LEAST}[senders]\nrefuse = [\"B@c.test\"]\nrefuse_file = \"{0}\"\nrefuse_cdb = \"{1}\"\n\
         [recipients]\nvalid_file = \"{0}\"\n[helo]\nrefuse = [\"/a b/\", \".d.test\"]\n",
        list.display(),
        cdb.display()
    );
    let mut config = Config::load(&scratch.write("gatepost.toml", &text)).unwrap();
    let slice = config.tables_slice(Vec::new());
    assert_eq!(slice.senders.entries, ["B@c.test", "@a.test", "/^x/"]);
    assert_eq!(slice.senders.cdb.len(), 2048);
    assert!(slice.recipients.entries.is_empty());
    assert_eq!(slice.valid.unwrap().entries, ["@a.test", "/^x/"]);
    assert_eq!(slice.helo.entries, ["/a b/", ".d.test"]);
    assert!(parse(LEAST).tables_slice(Vec::new()).valid.is_none());

    // In the order of their tables: senders, recipients.
    let files: Vec<PathBuf> = config.table_files().map(Path::to_owned).collect();
    assert_eq!(files, [list.clone(), cdb.clone(), list]);
    scratch.write("list", "@b.test\n");
    assert!(config.renew_table(2).unwrap() && !config.renew_table(2).unwrap());
    assert_eq!(config.tables_slice(Vec::new()).valid.unwrap().entries, ["@b.test"]);
    for (content, place, told) in [
        ("", 2, "there is no recipient in it"),
        ("@b.test\nb.test\n", 2, "list:2:1: \"b.test\": no address"),
        (&"/a/\n".repeat(101), 0, "more than 100 patterns"),
    ] {
        scratch.write("list", content);
        let faults = config.renew_table(place).unwrap_err().to_string();
        assert!(faults.contains(told), "{faults}");
    }
    scratch.write("cdb", "too short");
    assert!(config.renew_table(1).unwrap_err().to_string().contains("no constant database"));
    assert_eq!(config.tables_slice(Vec::new()).senders.cdb.len(), 2048, "what was there before is");
    scratch.write("list", "");
    assert!(config.renew_table(0).unwrap(), "nobody refused is no mistake");
}

#[test]
fn issue_15_who_may_send_as_whom_is_read_from_the_configuration_and_its_files() {
    let scratch = Scratch::new("logins");
    let list = scratch.write("list", "joe joe@a.test # since May\n/[a-z]+/ %@a.test\n");
    let cdb = scratch.write("cdb", "\0".repeat(2048));
    let text = format!(
        "{LEAST}[[listen]]\naddress = \"unix:/run/gatepost/submit\"\nservice = \"submission\"\n[submission]\n\
         senders = [\"joe @joe.test\"]\nsenders_file = \"{}\"\nsenders_cdb = \"{}\"\n",
        list.display(),
        cdb.display()
    );
    let mut config = Config::load(&scratch.write("gatepost.toml", &text)).unwrap();
    let slice = config.tables_slice(vec!["0 root".to_owned()]);
    assert_eq!(slice.permitted.entries, ["joe @joe.test", "joe joe@a.test", "/[a-z]+/ %@a.test"]);
    assert_eq!((slice.permitted.cdb.len(), slice.accounts), (2048, vec!["0 root".to_owned()]));
    let files: Vec<PathBuf> = config.table_files().map(Path::to_owned).collect();
    assert_eq!(files, [list, cdb]);
    for (content, told) in [
        ("joe\n", "list:1:1: \"joe\": a login without an address"),
        ("ann ann@a.test\njoe joe\n", "list:2:1: \"joe joe\": no address"),
        ("joe /(/\n", "a parenthesis is not closed"),
        (&"joe /a/\n".repeat(101), "more than 100 patterns"),
    ] {
        scratch.write("list", content);
        let faults = config.renew_table(0).unwrap_err().to_string();
        assert!(faults.contains(told), "{faults}");
    }
    scratch.write("list", "");
    assert!(config.renew_table(0).unwrap(), "a list of nobody is no mistake");
    assert_eq!(config.tables_slice(Vec::new()).permitted.entries, ["joe @joe.test"]);
}
