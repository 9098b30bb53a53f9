//! What rules mean, without a file and without a program: both are compared with the originals in gatepost's tests.

use super::source::compile;
use super::*;
use proptest::prelude::*;

type Records = &'static [(&'static [u8], &'static [u8])];

fn cdb_of(source: &str) -> Cdb<Vec<u8>> {
    Cdb::new(compile(source.as_bytes()).unwrap().file().unwrap())
}

fn found(cdb: &Cdb<Vec<u8>>, ip: &str, host: Option<&str>, info: Option<&str>) -> Option<Rule> {
    let peer = Peer { ip: ip.as_bytes(), host: host.map(str::as_bytes), info: info.map(str::as_bytes) };
    find(cdb, &peer).unwrap()
}

fn key_for(cdb: &Cdb<Vec<u8>>, ip: &str, host: Option<&str>, info: Option<&str>) -> Option<String> {
    found(cdb, ip, host, info).map(|rule| String::from_utf8(rule.key).unwrap())
}

fn joe(source: &str) -> Option<String> {
    key_for(&cdb_of(source), "1.2.3.4", Some("h.ex.com"), Some("joe"))
}

#[test]
fn issue_11_sources_compile_to_these_records() {
    let table: &[(&str, &str, Records)] = &[
        ("B35", "1.2.3.4-6:deny", &[(b"1.2.3.4", b"D\0"), (b"1.2.3.5", b"D\0"), (b"1.2.3.6", b"D\0")]),
        ("B36", "18.23-24.:allow", &[(b"18.23.", b""), (b"18.24.", b"")]),
        ("B37", "1.2.3.254-300:deny", &[(b"1.2.3.254", b"D\0"), (b"1.2.3.255", b"D\0")]),
        ("B38", "1.2.3.6-4:deny\n1.2.3.4-:deny\n", &[]),
        ("B39", "1-2.3-4.:deny", &[(b"1.3-4.", b"D\0"), (b"2.3-4.", b"D\0")]),
        ("B40", "user@1.2.3.4-6:allow\n=a-b.example:deny", &[(b"user@1.2.3.4-6", b""), (b"=a-b.example", b"D\0")]),
        ("B41", "1.2.3.4:allow,X=/a b,c:d/,Y=\"\"", &[(b"1.2.3.4", b"+X=a b,c:d\0+Y=\0")]),
        ("B42", "1.2.3.4:deny,X=\"1\"", &[(b"1.2.3.4", b"D\0+X=1\0")]),
        ("B44", "nocolonline\n # x\n", &[]),
        ("B45", "1.2.3.4:allow  \t", &[(b"1.2.3.4", b"")]),
        ("B46", "1.2.3.4:deny\n1.2.3.4:allow", &[(b"1.2.3.4", b"D\0"), (b"1.2.3.4", b"")]),
        ("comments", "#a:deny\n\n \t \n :allow", &[(b" ", b"")]),
        ("no name", ":allow,=x1x", &[(b"", b"+=1\0")]),
        ("leading zeros", "1.2.3.04-05:deny", &[(b"1.2.3.4", b"D\0"), (b"1.2.3.5", b"D\0")]),
        (
            "a number that starts again from 0",
            "1.18446744073709551617-2.:deny",
            &[(b"1.1.", b"D\0"), (b"1.2.", b"D\0")],
        ),
        ("B54", "2001:db8:::deny", &[(b"2001:db8::", b"D\0")]),
        ("IPv6", "::1:allow,X=\":deny\"", &[(b"::1", b"+X=:deny\0")]),
        ("IPv6, info", "joe@::1:deny", &[(b"joe@::1", b"D\0")]),
        ("IPv6, range", "::ffff:1.2.3.4-5:deny", &[(b"::ffff:1.2.3.4", b"D\0"), (b"::ffff:1.2.3.5", b"D\0")]),
        (
            "networks",
            "10.1.0.0/8:deny\n10.0.0.0/9:allow\n2001:db8::/32:deny",
            &[
                (b"\n10.0.0.0/8", b"D\0"),
                (b"\n10.0.0.0/9", b""),
                (b"\n2001:db8::/32", b"D\0"),
                (b"\n4", &[8, 9]),
                (b"\n6", &[32]),
            ],
        ),
        ("no network", "1.2.3.4/33:deny\n1.2.3.4/+8:deny", &[(b"1.2.3.4/33", b"D\0"), (b"1.2.3.4/+8", b"D\0")]),
    ];
    for (name, source, records) in table {
        let compiled = compile(source.as_bytes()).unwrap();
        assert_eq!(compiled.records().collect::<Vec<_>>(), *records, "{name}");
    }
}

#[test]
fn issue_11_a_line_that_is_no_rule_is_told_by_its_number() {
    // B43, B55.
    for line in [
        "1.2.3.4:allowed",
        ":ALLOW",
        ": allow",
        ":allow,X",
        ":allow,X=",
        ":allow,X=\"a",
        ":allow ,X=\"1\"",
        ":allow\r",
        ":",
        "1.2.3.x-6:deny",
        "1.2.3.4-6-8:deny",
        "1.2.3.4-6x:deny",
        ":allow,",
        ":allow,A=\"1\",",
        ":allow,A=\"1\"B=\"2\"",
        "1.2.3.4:foo:allow",
        "::1:allowed",
        "::1:ALLOW",
        "::1 :deny",
        "2001:db8::1-5:deny",
        "10.0.0.0-1/8:deny",
    ] {
        let fault = compile(format!("# first\n:allow\n{line} \n:deny\n").as_bytes()).unwrap_err();
        assert_eq!((fault.line, fault.text.as_slice()), (3, line.as_bytes()), "{line:?}: {}", fault.why);
    }
}

#[test]
fn issue_11_what_has_no_effect_is_told() {
    for (source, remark) in [
        ("bogus", "line 1: ignored: there is no colon in it"),
        ("\n1.2.3.6-4:deny", "line 2: makes no rule: the range is empty"),
        (":deny\n:allow", "line 2: never used: line 1 has a rule for \"\""),
        ("1.2.3:deny", "line 1: never used: no connection is looked up as \"1.2.3\""),
        ("joe@1.2.:deny", "line 1: never used: no connection is looked up as \"joe@1.2.\""),
        ("joe@=.ex.com:deny", "line 1: never used: no connection is looked up as \"joe@=.ex.com\""),
        ("joe@:deny", "line 1: never used: no connection is looked up as \"joe@\""),
        (" 1.2.3.4:deny", "line 1: never used: no connection is looked up as \" 1.2.3.4\""),
        ("1.2.3.256:deny", "line 1: never used: no connection is looked up as \"1.2.3.256\""),
        ("1.2.3.4.:deny", "line 1: never used: no connection is looked up as \"1.2.3.4.\""),
        ("fe80:0:0:0:0:0:0:1:deny", "line 1: never used: no connection is looked up as \"fe80:0:0:0:0:0:0:1\""),
        ("2001:DB8:::deny", "line 1: never used: no connection is looked up as \"2001:DB8::\""),
        ("host.example:deny", "line 1: never used: no connection is looked up as \"host.example\""),
        ("10.0.0.0/33:deny", "line 1: never used: no connection is looked up as \"10.0.0.0/33\""),
        ("10.1.2.3/8:deny", "line 1: means 10.0.0.0/8"),
        ("10.0.0.0/8:deny\n10.0.0.0/8:deny", "line 2: never used: line 1 has a rule for \"10.0.0.0/8\""),
    ] {
        let remarks: Vec<String> = compile(source.as_bytes()).unwrap().remarks.iter().map(Remark::to_string).collect();
        assert_eq!(remarks, [remark], "{source:?}");
    }
    let all = "joe@1.2.3.4:deny\njoe@=h.ex.com:deny\n1.2.3.4:deny\n=h.ex.com:deny\n1.2.3.:deny\n1.:deny\n=.ex.com:deny\n=:deny\n:deny\n\
               ::1:deny\n2001:db8:::deny\n::ffff:1.2.3.4:deny\n::ffff:1.:deny\n10.0.0.0/8:deny\n";
    assert_eq!(compile(all.as_bytes()).unwrap().remarks, []);
}

use super::source::Remark;

#[test]
fn issue_11_rules_are_found_in_this_order() {
    // B47: with each winner removed the next is found.
    let order = [
        "joe@1.2.3.4",
        "joe@=h.ex.com",
        "1.2.3.4",
        "=h.ex.com",
        "1.2.3.",
        "1.2.",
        "1.",
        "1.2.3.0/24",
        "1.0.0.0/8",
        "0.0.0.0/0",
        "=.ex.com",
        "=.com",
        "=",
        "",
    ];
    for first in 0..order.len() {
        let source: String = order[first..].iter().rev().map(|key| format!("{key}:deny\n")).collect();
        assert_eq!(joe(&source).as_deref(), Some(order[first]));
    }
    assert_eq!(joe(""), None);
    // B48: never used.
    assert_eq!(joe("joe@1.2.:deny\njoe@=.ex.com:deny\njoe@:deny\njoe@1.2.3.0/24:deny\n::/0:deny\n"), None);
    // B49: letters count.
    assert_eq!(joe("=H.ex.com:deny"), None);
    // B50: `=` is for whoever has a name.
    let cdb = cdb_of("=:allow,A=\"b\"\n:deny\n");
    assert_eq!(key_for(&cdb, "1.2.3.4", Some("x"), None).as_deref(), Some("="));
    assert_eq!(RuleDecision::from(found(&cdb, "1.2.3.4", None, None)), RuleDecision::Deny);
}

#[test]
fn issue_11_ipv6_is_looked_up_by_its_text_and_by_networks() {
    let cdb = cdb_of("2001:db8:::deny\n2001:db9::5:deny\n2001:dba::/33:deny\n::ffff:9.9.:deny\n10.0.0.0/8:deny\n");
    for (ip, key) in [
        ("2001:db8::5", Some("2001:db8::")),
        ("2001:db8:1::5", None),
        ("2001:db9::5", Some("2001:db9::5")),
        ("2001:dba:7fff::1", Some("2001:dba::/33")),
        ("2001:dba:8000::1", None),
        ("::ffff:9.9.9.9", Some("::ffff:9.9.")),
        ("::ffff:10.1.2.3", Some("10.0.0.0/8")),
        ("10.255.255.255", Some("10.0.0.0/8")),
        ("11.0.0.0", None),
        ("", None),
        ("no address", None),
    ] {
        assert_eq!(key_for(&cdb, ip, None, None).as_deref(), key, "{ip}");
    }
}

#[test]
fn issue_11_an_old_file_with_a_slash_in_it_means_what_it_meant() {
    let file = crate::cdb::make([(&b"10.0.0.0/8"[..], &b"+RELAYCLIENT=\0"[..])]).unwrap();
    assert_eq!(key_for(&Cdb::new(file), "10.1.2.3", None, None), None);
}

#[test]
fn issue_11_instructions_are_read_as_the_original_reads_them() {
    let allow = |all: &[(&str, &str)]| {
        let variable =
            |(name, value): &(&str, &str)| Variable { name: name.as_bytes().into(), value: value.as_bytes().into() };
        RuleDecision::Allow(all.iter().map(variable).collect())
    };
    for (data, decision) in [
        (&b"D\0"[..], RuleDecision::Deny),
        (b"+X=1\0D\0+Y=2\0", RuleDecision::Deny),
        (b"Dxyz\0", RuleDecision::Deny),
        (b"", allow(&[])),
        (b"D", allow(&[])),
        (b"d\0", allow(&[])),
        (b"+X=1", allow(&[])),
        (b"+X\0+=3\0", allow(&[("", "3")])),
        (b"Zfoo\0\0+A=b=c\0+A=\0", allow(&[("A", "b=c"), ("A", "")])),
    ] {
        let rule = Rule { key: Vec::new(), data: data.to_vec() };
        assert_eq!(RuleDecision::from(Some(rule)), decision, "{}", data.escape_ascii());
    }
}

#[test]
fn issue_11_a_file_that_lies_about_its_networks_is_damaged() {
    for lengths in [&[33][..], &[255], &[8; 130]] {
        let file = crate::cdb::make([(&b"\n4"[..], lengths), (b"", b"+RELAYCLIENT=\0")]).unwrap();
        let error = find(&Cdb::new(file), &Peer { ip: b"10.0.0.1", ..Peer::default() }).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{lengths:?}");
    }
}

proptest! {
    /// What networks mean, said in another way: of all that hold the address the longest, and of equals the first.
    #[test]
    fn issue_11_the_longest_network_is_found(
        rules: Vec<(u32, u8)>, ip: u32, near in 0_usize..8, flip in 0_u32..32,
    ) {
        let rules: Vec<(u32, u8)> = rules.into_iter().map(|(ip, length)| (ip, length % 33)).collect();
        let ip = rules.get(near).map_or(ip, |(other, _)| other ^ (1 << flip));
        let text = |ip: u32| std::net::Ipv4Addr::from_bits(ip).to_string();
        let source: String = (0..).zip(&rules).map(|(n, (ip, length))| format!("{}/{length}:allow,N=\"{n}\"\n", text(*ip))).collect();
        let holds = |(other, length): &(u32, u8)| *length == 0 || (ip ^ other) >> (32 - u32::from(*length)) == 0;
        let expected = (0..).zip(&rules).filter(|(_, rule)| holds(rule)).max_by_key(|(n, (_, length))| (*length, std::cmp::Reverse(*n)));
        let expected = expected.map(|(n, _): (usize, _)| n.to_string().into_bytes());
        let decision = RuleDecision::from(found(&cdb_of(&source), &text(ip), None, None));
        let seen = if let RuleDecision::Allow(all) = decision { Some(all[0].value.clone()) } else { None };
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn issue_11_no_source_upsets_it(source: Vec<u8>, lines in "([1-9.:/=@-]{0,9}(:allow|:deny)?(,A=\"x\")?[ \t]?\n){0,6}") {
        for source in [source.as_slice(), lines.as_bytes()] {
            if let Ok(compiled) = compile(source) {
                prop_assert!(compiled.file().is_ok());
            }
        }
    }

    /// However a file is damaged: an error, or the decision of some octets of it, and never without an end.
    #[test]
    fn p6_no_damage_upsets_a_look_up(octets in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..6), cut: usize) {
        let mut file = compile(b"10.0.0.0/8:deny\n1.2.3.4:allow,A=\"1\"\n::1:deny\n=.com:deny\n:deny\n").unwrap().file().unwrap();
        for (at, octet) in octets {
            let at = at % file.len();
            file[at] = octet;
        }
        file.truncate(cut % (2 * file.len()));
        let cdb = Cdb::new(file);
        for ip in ["10.1.1.1", "::1", "9.9.9.9"] {
            let _ = find(&cdb, &Peer { ip: ip.as_bytes(), host: Some(b"a.com"), info: None });
        }
    }

    /// A file that was cut off has the decision of the whole one, or none.
    #[test]
    fn issue_11_a_truncated_file_never_permits_what_the_whole_one_denies(cut: usize) {
        let whole = compile(b"10.0.0.0/8:deny\n1.2.:deny\n::1:deny\n=.com:deny\n:allow,RELAYCLIENT=\"\"\n").unwrap().file().unwrap();
        let cdb = Cdb::new(whole[..cut % whole.len()].to_vec());
        for (ip, host) in [("10.1.1.1", "a"), ("1.2.3.4", "a"), ("::1", "a"), ("9.9.9.9", "a.com"), ("9.9.9.9", "a")] {
            let peer = Peer { ip: ip.as_bytes(), host: Some(host.as_bytes()), info: None };
            if let Ok(rule) = find(&cdb, &peer) {
                prop_assert_eq!(rule, find(&Cdb::new(whole.clone()), &peer).unwrap());
            }
        }
    }
}
