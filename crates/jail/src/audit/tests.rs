use super::*;
use crate::profile::{self, FileSize};
use gatepost_wire::control::Role;
use gatepost_wire::slice::Ground;

const STATUS: &str = "Name:\tgp-session\nUmask:\t0077\nState:\tS (sleeping)\nTgid:\t311\nPid:\t311\nPPid:\t305\n\
    TracerPid:\t0\nUid:\t901\t901\t901\t901\nGid:\t902\t902\t902\t902\nGroups:\t \nNSpid:\t311\t7\n\
    VmPeak:\t    1404 kB\nVmRSS:\t     560 kB\nVmData:\t     236 kB\nThreads:\t1\n\
    CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n\
    CapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t2\n";

const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
    Max cpu time              600                  600                  seconds   \n\
    Max file size             52428800             52428800             bytes     \n\
    Max data size             1048576              1048576              bytes     \n\
    Max stack size            524288               524288               bytes     \n\
    Max address space         68157440             68157440             bytes     \n\
    Max core file size        0                    0                    bytes     \n\
    Max processes             0                    0                    processes \n\
    Max open files            32                   32                   files     \n";

/// A session as it must be; each test makes it weaker in one thing.
fn session() -> Facts {
    let own = |kind: Ns| !matches!(kind, Ns::User | Ns::Cgroup);
    Facts {
        pid: 311,
        cmdline: vec!["gatepost".into(), "role".into(), "nursery".into()],
        exe: Some("/usr/bin/gatepost".into()),
        set_id_file: Some(false),
        role: Some(RoleName::Session),
        status: Status::parse(STATUS).unwrap(),
        limits: Limits::parse(LIMITS).unwrap(),
        namespaces: Some(
            Ns::ALL.into_iter().zip(10..).map(|(kind, inode)| Namespace { kind, inode, own: own(kind) }).collect(),
        ),
        root: Some(Root::default()),
        mounts: Some(Mounts { count: 1, root_read_only: Some(true) }),
        descriptors: Some(Descriptors::parse([("0", "/dev/null"), ("5", "socket:[77]")].into_iter())),
        network: Some(Network { interfaces: vec!["lo".into()], addresses: Some(0) }),
        dumpable: Some(false),
        writable_code: Some(0),
    }
}

fn found(facts: &Facts) -> Vec<&'static str> {
    judge(facts, &Expectations::default().of(facts.role.unwrap())).iter().map(|f| f.what).collect()
}

#[test]
fn status_is_read() {
    let status = Status::parse(STATUS).unwrap();
    assert_eq!(status.name, "gp-session");
    assert_eq!((status.parent, status.tracer, status.threads), (305, 0, 1));
    assert_eq!((status.uids, status.gids, status.groups.len()), ([901; 4], [902; 4], 0));
    assert_eq!(status.capabilities.union(), 0);
    assert_eq!(status.seccomp, Seccomp { mode: 2, filters: Some(2) });
    assert!(status.no_new_privs);
    assert_eq!((status.data, status.resident), (Some(241_664), Some(573_440)));
}

#[test]
fn p7_a_missing_line_is_an_error_not_a_pass() {
    for key in ["Uid", "Groups", "CapBnd", "NoNewPrivs", "Seccomp", "Threads", "TracerPid"] {
        let line = STATUS.lines().find(|line| line.starts_with(&format!("{key}:"))).unwrap();
        assert_eq!(Status::parse(&STATUS.replace(line, "")), Err(Unparsed(key)));
    }
    assert_eq!(Limits::parse(&LIMITS.replace("Max data size", "Max date size")), Err(Unparsed("Max data size")));
}

#[test]
fn limits_are_read() {
    let limits =
        Limits::parse(&LIMITS.replace("52428800             52428800 ", "100                  unlimited")).unwrap();
    assert_eq!(limits.get(Resource::Data), Limit { soft: Some(1_048_576), hard: Some(1_048_576) });
    assert_eq!(limits.get(Resource::FileSize), Limit { soft: Some(100), hard: None });
}

#[test]
fn the_topmost_mount_on_the_root_counts() {
    let jail = "70 60 0:44 / / ro,nosuid,nodev,noexec - tmpfs none rw,size=64k\n";
    assert_eq!(Mounts::parse(jail), Mounts { count: 1, root_read_only: Some(true) });
    let covered = format!("{jail}71 70 0:45 / / rw,relatime - tmpfs none rw\n72 71 0:46 / /x ro - tmpfs none rw\n");
    assert_eq!(Mounts::parse(&covered), Mounts { count: 3, root_read_only: Some(false) });
    let bare = "72 71 0:46 / /x ro - tmpfs none rw\n";
    assert_eq!(Mounts::parse(bare), Mounts { count: 1, root_read_only: None });
}

#[test]
fn links_tell_what_a_descriptor_is() {
    for (link, kind) in [
        ("socket:[1234]", Kind::Socket),
        ("pipe:[1]", Kind::Pipe),
        ("/memfd:birth (deleted)", Kind::Memory),
        ("/content/1a (deleted)", Kind::Unlinked),
        ("/etc/passwd", Kind::File),
        ("/dev/null", Kind::Other),
        ("anon_inode:[eventpoll]", Kind::Epoll),
        ("anon_inode:[eventfd]", Kind::Eventfd),
        ("anon_inode:[timerfd]", Kind::Other),
    ] {
        assert_eq!(Kind::of_link(link), kind, "{link}");
    }
    let open = Descriptors::parse([("2", "/var/log/x"), ("9", "/etc/passwd"), ("10", "socket:[1]")].into_iter());
    assert_eq!((open.total(), open.named_files(), open.count(Kind::File)), (3, 1, 2));
}

#[test]
fn only_a_link_of_its_own_kind_is_a_namespace() {
    assert_eq!(Ns::Net.inode("net:[4026531840]"), Some(4_026_531_840));
    assert_eq!(Ns::Net.inode("mnt:[4026531840]"), None);
    assert_eq!(Ns::Net.inode("net:[]"), None);
}

#[test]
fn a_network_with_loopback_up_is_not_empty() {
    let trie = "Main:\n  +-- 127.0.0.0/8 2 0 2\n     |-- 127.0.0.1\n        /32 host LOCAL\nLocal:\n     |-- 127.0.0.1\n        \
                /32 host LOCAL\n";
    let v6 = "00000000000000000000000000000001 01 80 10 80       lo\n";
    assert_eq!(parse::addresses("", ""), 0);
    assert_eq!(parse::addresses(trie, ""), 1);
    assert_eq!(parse::addresses(trie, v6), 2);
    let dev = "Inter-| Receive | Transmit\n face |bytes |bytes\n    lo:       0\n  eth0: 62630868\n";
    assert_eq!(parse::interfaces(dev), ["lo", "eth0"]);
}

#[test]
fn writable_code_is_seen_in_maps() {
    let maps = "00400000-00500000 r-xp 00000000 fe:00 77 /usr/bin/gatepost\n\
                7f0000000000-7f0000001000 rwxp 00000000 00:00 0 \n7ffc0000-7ffd0000 rw-p 00000000 00:00 0 [stack]\n";
    assert_eq!(parse::writable_code(maps), 1);
}

#[test]
fn a_name_with_parentheses_does_not_shift_the_start_time() {
    let rest = (3..22).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
    assert_eq!(parse::start_time(&format!("7 (a) b (c)) S {} 555 9", &rest[2..])), Some(555));
}

#[test]
fn roles_are_told_from_command_lines() {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for (cmdline, comm, parent, role) in [
        ("gatepost serve --config x", "gatepost", "init", Some(RoleName::Launcher)),
        ("gatepost try", "gatepost", "bash", Some(RoleName::Launcher)),
        ("gatepost role handoff", "gatepost", "gatepost serve", Some(RoleName::Role(Role::Handoff))),
        ("gatepost role nursery", "gatepost", "gatepost serve", Some(RoleName::Role(Role::Nursery))),
        ("gatepost role nursery", "gp-session", "gatepost role nursery", Some(RoleName::Session)),
        // A session that renames itself stays one: it is its parent's fork.
        ("gatepost role nursery", "kworker", "gatepost role nursery", Some(RoleName::Session)),
        ("gatepost role nobody", "gatepost", "gatepost serve", None),
        ("gatepost inetd --config x", "gatepost", "xinetd", Some(RoleName::Beside)),
        ("gatepost inetd --config x", "gp-queue", "xinetd", Some(RoleName::BesideQueue)),
        ("gatepost inetd --config x", "gp-session", "gatepost inetd --config x", Some(RoleName::Alone)),
        // About to execute the queue program.
        ("gatepost inetd --config x", "gp-queue", "gatepost inetd --config x", Some(RoleName::Program)),
        ("/usr/lib/gatepost/tcpserver 0 25 true", "tcpserver", "sh", Some(RoleName::Runner)),
        ("gatepost tcpserver 0 25 true", "gatepost", "sh", Some(RoleName::Runner)),
        ("tcpserver 0 25 true", "listener", "tcpserver 0 25 true", Some(RoleName::Accepting)),
        // About to execute.
        ("tcpserver 0 25 true", "tcpserver", "tcpserver 0 25 true", Some(RoleName::Program)),
        ("gatepost-qmail-smtpd", "gatepost-qmail-s", "tcpserver 0 25 true", Some(RoleName::Program)),
        ("/var/qmail/bin/qmail-smtpd", "gp-session", "/var/qmail/bin/qmail-smtpd", Some(RoleName::Alone)),
        ("gatepost audit", "gatepost", "bash", None),
        ("gatepost", "gatepost", "bash", None),
    ] {
        assert_eq!(RoleName::guess(&words(cmdline), (comm, false), &words(parent)), role, "{cmdline} ({comm})");
    }
}

#[test]
fn issue_11_a_filter_tells_a_listener_that_renames_itself_from_what_is_just_started() {
    let words: Vec<String> = ["tcpserver", "0", "25", "true"].map(str::to_owned).to_vec();
    let guess = |comm, filtered| RoleName::guess(&words, (comm, filtered), &words);
    assert_eq!(guess("kworker", true), Some(RoleName::Accepting));
    assert_eq!(guess("kworker", false), Some(RoleName::Program));
    let inetd: Vec<String> = ["gatepost", "inetd"].map(str::to_owned).to_vec();
    assert_eq!(RoleName::guess(&inetd, ("kworker", true), &inetd), Some(RoleName::Alone));
    assert_eq!(RoleName::guess(&inetd, ("gp-queue", true), &words), Some(RoleName::Beside));
}

/// What serves without a launcher has no namespaces, and what it has open may be another's too.
fn alone(role: RoleName) -> Facts {
    let mut facts = session();
    facts.role = Some(role);
    limit(
        &mut facts,
        "32                   32                   files",
        "16                   16                   files",
    );
    for kind in Ns::ALL {
        share(&mut facts, kind);
    }
    facts.mounts = Some(Mounts { count: 20, root_read_only: None });
    facts.network = Some(Network { interfaces: vec!["eth0".into()], addresses: None });
    facts
}

#[test]
fn issue_11_processes_without_a_launcher_are_judged_by_what_they_can_have() {
    for role in [RoleName::Alone, RoleName::Accepting] {
        assert_eq!(found(&alone(role)), [""; 0], "{role}");
        for (what, weaken) in [
            ("Uid", (|f| f.status.uids = [0; 4]) as Weaken),
            ("Seccomp", |f| f.status.seccomp.mode = 0),
            ("root directory", |f| f.root = Some(Root { names: vec!["etc".into()], count: 1 })),
            ("RLIMIT_NPROC", |f| limit(f, "0                    processes", "1                    processes")),
            ("dumpable", |f| f.dumpable = Some(true)),
        ] {
            let mut facts = alone(role);
            weaken(&mut facts);
            assert!(found(&facts).contains(&what), "{role} {what}");
        }
    }
    let mut beside = alone(RoleName::Beside);
    (beside.status.uids, beside.root) = ([901, 904, 904, 904], Some(Root { names: vec!["etc".into()], count: 1 }));
    assert_eq!(found(&beside), [""; 0]);
    beside.status.seccomp.mode = 0;
    assert_eq!(found(&beside), ["Seccomp"]);
    beside.role = Some(RoleName::BesideQueue);
    assert_eq!(found(&beside), [""; 0]);
    let pair = [alone(RoleName::Alone), alone(RoleName::Accepting)];
    assert!(rows(pair.to_vec(), &[], &Expectations::default()).iter().all(|row| row.findings.is_empty()));
}

#[test]
fn issue_11_a_runner_keeps_what_its_command_line_needs_and_no_more() {
    let runner = |line: &str, ids: [u32; 2], capabilities: u64| {
        let mut facts = alone(RoleName::Runner);
        facts.cmdline = line.split(' ').map(str::to_owned).collect();
        let [uid, gid] = ids;
        (facts.status.uids, facts.status.gids) = ([uid; 4], [gid; 4]);
        facts.status.capabilities.effective = capabilities;
        (facts.status.capabilities.bounding, facts.status.no_new_privs) = (u64::MAX >> 23, false);
        (facts.status.seccomp.mode, facts.dumpable) = (0, (uid != 0).then_some(false));
        let row = Row::of(facts, &Expectations::default());
        row.findings.iter().map(|finding| finding.what).collect::<Vec<_>>()
    };
    const ALL: u64 = u64::MAX >> 23;
    for (line, ids, capabilities, expected) in [
        ("tcpserver 0 25 true", [0, 0], ALL, &[][..]),
        ("tcpserver -u 7 -g 8 0 25 true", [7, 8], 0, &[]),
        ("gatepost tcpserver -u7 -g8 0 25 true", [7, 8], 0, &[]),
        ("tcpserver -u 7 0 25 true", [7, 0], 0, &[]),
        ("tcpserver -u 7 -g 8 0 25 true", [0, 0], ALL, &["Uid", "Gid", "CapEff", "dumpable"]),
        ("tcpserver -u 7 -g 8 0 25 true", [9, 8], 0, &["Uid"]),
        ("tcpserver -u 7 -g 8 0 25 true", [7, 8], 1, &["CapEff"]),
        ("tcpserver --user mail 0 25 true", [5, 5], 0, &[]),
        ("tcpserver --user mail 0 25 true", [5, 0], 0, &["Gid"]),
        ("tcpserver -u 7 -g 8 --chroot /x 0 25 true", [0, 0], 0x24_00e0, &[]),
        ("tcpserver -u 7 -g 8 --chroot /x 0 25 true", [0, 0], 0x24_00e1, &["CapEff"]),
    ] {
        assert_eq!(runner(line, ids, capabilities), expected, "{line} {ids:?}");
    }
}

#[test]
fn issue_11_an_admins_program_is_named_and_not_judged() {
    let mut program = alone(RoleName::Program);
    (program.status.uids, program.status.seccomp.mode) = ([0; 4], 0);
    let judged = rows(vec![session(), program], &[], &Expectations::default());
    let text = table(&judged);
    assert!(text.lines().nth(2).unwrap().ends_with("  a program of yours"), "{text}");
    assert!(text.contains("All 1 gatepost processes are confined"), "{text}");
    assert!(json(&judged).contains(r#""role":"program","profile":"program","standing":"program","findings":[]"#));
}

#[test]
fn a_session_as_it_must_be_passes() {
    assert_eq!(judge(&session(), &Expectations::default().of(RoleName::Session)), []);
    assert_eq!(Row::of(session(), &Expectations::default()).standing(), Standing::Passes);
}

type Weaken = fn(&mut Facts);

#[test]
fn p7_every_weakness_is_found() {
    let table: &[(&str, Weaken)] = &[
        ("Uid", |f| f.status.uids = [0; 4]),
        ("Uid", |f| f.status.uids = [901, 901, 0, 901]),
        ("Gid", |f| f.status.gids = [902, 902, 902, 903]),
        ("Groups", |f| f.status.groups = vec![6]),
        ("exe", |f| f.set_id_file = Some(true)),
        ("CapInh", |f| f.status.capabilities.inheritable = 1),
        ("CapPrm", |f| f.status.capabilities.permitted = 1 << 10),
        ("CapEff", |f| f.status.capabilities.effective = 1 << 21),
        ("CapBnd", |f| f.status.capabilities.bounding = 1 << 63),
        ("CapAmb", |f| f.status.capabilities.ambient = 1 << 40),
        ("NoNewPrivs", |f| f.status.no_new_privs = false),
        ("Seccomp", |f| f.status.seccomp.mode = 0),
        ("Seccomp", |f| f.status.seccomp.mode = 1),
        ("Seccomp", |f| f.status.seccomp.filters = Some(0)),
        ("Threads", |f| f.status.threads = 2),
        ("TracerPid", |f| f.status.tracer = 99),
        ("mount namespace", |f| share(f, Ns::Mount)),
        ("pid namespace", |f| share(f, Ns::Pid)),
        ("ipc namespace", |f| share(f, Ns::Ipc)),
        ("uts namespace", |f| share(f, Ns::Uts)),
        ("root directory", |f| f.root = Some(Root { names: vec!["etc".into()], count: 1 })),
        ("root directory", |f| f.root = None),
        ("mount of the root directory", |f| f.mounts = Some(Mounts { count: 1, root_read_only: Some(false) })),
        ("mount of the root directory", |f| f.mounts = Some(Mounts { count: 0, root_read_only: None })),
        ("mounts", |f| f.mounts = Some(Mounts { count: 2, root_read_only: Some(true) })),
        ("network", |f| f.network = Some(Network { interfaces: vec!["lo".into()], addresses: Some(1) })),
        ("network", |f| f.network = None),
        ("open named files", |f| f.descriptors = Some(Descriptors::parse([("7", "/etc/passwd")].into_iter()))),
        ("open named files", |f| f.descriptors = None),
        ("RLIMIT_STACK", |f| limit(f, "524288               bytes", "unlimited            bytes")),
        ("RLIMIT_AS", |f| limit(f, "68157440             bytes", "68157441             bytes")),
        ("RLIMIT_DATA", |f| limit(f, "1048576 ", "1048577 ")),
        ("RLIMIT_DATA", |f| limit(f, "1048576              bytes", "unlimited            bytes")),
        ("RLIMIT_NOFILE", |f| limit(f, "32                   files", "64                   files")),
        ("RLIMIT_NPROC", |f| limit(f, "0                    processes", "1                    processes")),
        ("RLIMIT_FSIZE", |f| limit(f, "52428800 ", "unlimited ")),
        ("RLIMIT_CORE", |f| limit(f, "size        0   ", "size        1   ")),
        ("RLIMIT_CPU", |f| limit(f, "600 ", "601 ")),
        ("dumpable", |f| f.dumpable = Some(true)),
        ("dumpable", |f| f.dumpable = None),
        ("writable and executable mappings", |f| f.writable_code = Some(1)),
    ];
    for (what, weaken) in table {
        let mut facts = session();
        weaken(&mut facts);
        assert_eq!(found(&facts), [*what]);
        assert_eq!(Row::of(facts, &Expectations::default()).standing(), Standing::Weak);
    }
    let mut facts = session();
    share(&mut facts, Ns::Net);
    assert_eq!(found(&facts), ["net namespace", "network"]);
    facts.namespaces = None;
    assert_eq!(found(&facts).len(), 6, "namespaces that cannot be read are not taken for own ones");
}

fn share(facts: &mut Facts, kind: Ns) {
    for ns in facts.namespaces.iter_mut().flatten().filter(|ns| ns.kind == kind) {
        ns.own = false;
    }
}

fn limit(facts: &mut Facts, from: &str, to: &str) {
    assert!(LIMITS.contains(from), "{from}");
    facts.limits = Limits::parse(&LIMITS.replace(from, to)).unwrap();
}

#[test]
fn user_ground_relaxes_the_user_and_nothing_else() {
    let mut facts = session();
    for ns in facts.namespaces.iter_mut().flatten() {
        ns.own |= ns.kind == Ns::User;
    }
    facts.status.groups = vec![4, 24];
    facts.dumpable = None;
    assert_eq!(facts.ground(), Ground::User);
    let row = Row::of(facts.clone(), &Expectations::default());
    assert_eq!(row.findings, []);
    assert!(table(&[row]).contains("Started without root"));
    facts.status.no_new_privs = false;
    facts.status.uids = [0; 4];
    let what: Vec<_> = Row::of(facts, &Expectations::default()).findings.iter().map(|f| f.what).collect();
    assert_eq!(what, ["Uid", "NoNewPrivs"]);
}

#[test]
fn two_roles_with_one_user_are_weak_a_session_with_its_nursery_s_is_not() {
    let mut nursery = session();
    nursery.role = Some(RoleName::Role(Role::Nursery));
    let mut listener = session();
    listener.role = Some(RoleName::Role(Role::Listener));
    limit(&mut listener, "52428800             52428800", "0                    0       ");
    let standing =
        |all: Vec<Facts>| rows(all, &[], &Expectations::default()).iter().map(Row::standing).collect::<Vec<_>>();
    assert_eq!(standing(vec![nursery.clone(), session()]), [Standing::Passes; 2]);
    assert_eq!(standing(vec![nursery.clone(), listener.clone()]), [Standing::Weak; 2]);
    listener.status.uids = [900; 4];
    assert_eq!(standing(vec![nursery, listener]), [Standing::Passes; 2]);
}

#[test]
fn issue_9_what_two_roles_share_makes_both_weak() {
    let mut nursery = session();
    (nursery.pid, nursery.role) = (305, Some(RoleName::Role(Role::Nursery)));
    let shared = [Shared { pids: [305, 311], numbers: [4, 5], link: "socket:[77]".into() }];
    let judged = rows(vec![nursery, session()], &shared, &Expectations::default());
    let said: Vec<String> = judged.iter().flat_map(|row| &row.findings).map(ToString::to_string).collect();
    let line = |number, pid| {
        format!(
            "open file description: expected none of another role's, found {number} is socket:[77], shared with process {pid}"
        )
    };
    assert_eq!(said, [line(4, 311), line(5, 305)]);
}

#[test]
fn the_configured_limit_is_expected() {
    let mut facts = session();
    limit(&mut facts, "1048576              1048576", "2097152              2097152");
    assert_eq!(Row::of(facts.clone(), &Expectations::default()).findings.len(), 1);
    assert_eq!(Row::of(facts, &Expectations::default().with_session_data(2 << 20)).findings, []);
}

/// Two tables say what a role may do, one for doing it and one for judging it; neither is made from the other.
#[test]
fn p7_expectations_agree_with_the_profiles() {
    let all = Expectations::default();
    for profile in profile::all() {
        let expect = all.of(profile.role.into());
        let name = profile.role.name();
        assert_eq!(expect.own.contains(&Ns::Net), profile.namespaces.net, "{name}");
        assert_eq!(expect.network == NetRule::Empty, profile.namespaces.net, "{name}");
        assert_eq!(expect.file_size != Bound::Exactly(0), profile.file_size != FileSize::Nothing, "{name}");
        assert_eq!(expect.processes != Bound::Exactly(0), profile.forks, "{name}");
        let data = match expect.data {
            Bound::Exactly(n) | Bound::AtMost(n) => n,
            Bound::Any => u64::MAX,
        };
        assert_eq!(data, profile.data, "{name}");
        // Two roles are without a jail, and no other may become so by mistake.
        let open = matches!(profile.role, Role::Queue | Role::Checker);
        assert_eq!((data == u64::MAX, profile.calls.is_empty(), !expect.filtered), (open, open, open), "{name}");
        assert_eq!(expect.root == RootRule::Any, open, "{name}");
    }
}

#[test]
fn the_table_shows_a_row_a_process_and_the_findings() {
    let mut weak = session();
    weak.status.no_new_privs = false;
    weak.status.capabilities.effective = (1 << 10) | (1 << 21);
    let mut foreign = session();
    foreign.role = None;
    foreign.status.name = "smtpd\u{1b}[2J".into();
    let text = table(&rows(vec![session(), weak, foreign], &[], &Expectations::default()));
    assert!(text.lines().nth(1).unwrap().ends_with("  ok"), "{text}");
    assert!(text.contains("CapEff: expected none, found net_bind_service sys_admin"), "{text}");
    assert!(text.contains("1 of 2 gatepost processes are weaker"), "{text}");
    assert!(!text.contains("can be seen by root"), "{text}");
    assert!(text.contains("(smtpd?[2J)") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn p7_the_role_without_a_jail_is_held_to_the_rest_and_named() {
    let mut queue = session();
    queue.role = Some(RoleName::Role(Role::Queue));
    queue.status.uids = [7791, 7794, 7794, 7794];
    queue.status.seccomp.mode = 0;
    let expected = Expectations::default();
    let text = table(&rows(vec![queue.clone()], &[], &expected));
    assert!(text.contains("ok, open by design") && text.contains("unconfined by design"), "{text}");
    assert!(!table(&rows(vec![session()], &[], &expected)).contains("by design"));
    let weaker: [fn(&mut Facts); 4] = [
        |facts| facts.status.uids = [0, 7794, 7794, 7794],
        |facts| facts.status.no_new_privs = false,
        |facts| facts.status.capabilities.bounding = 1,
        |facts| facts.status.groups = vec![4],
    ];
    for (number, change) in weaker.into_iter().enumerate() {
        let mut facts = queue.clone();
        change(&mut facts);
        assert_eq!(Row::of(facts, &expected).findings.len(), 1, "{number}");
    }
}

#[test]
fn json_escapes_what_a_foreign_process_calls_itself() {
    let mut facts = session();
    facts.cmdline = vec!["a\"b\\c\u{1}\u{85}é".into()];
    facts.namespaces = None;
    assert!(table(&[Row::of(facts.clone(), &Expectations::default())]).contains("can be seen by root"));
    let text = json(&[Row::of(facts, &Expectations::default())]);
    assert!(text.contains(r#""cmdline":["a\"b\\c\u0001\u0085é"]"#), "{text}");
    assert!(text.contains(r#""namespaces":{"mnt":null,"#), "{text}");
    assert!(text.contains(r#""RLIMIT_DATA":[1048576,1048576]"#), "{text}");
    assert!(text.starts_with("[{\"pid\":311,\"role\":\"session\"") && text.ends_with("}]\n"), "{text}");
}

#[test]
fn the_test_process_itself_is_found_weak() {
    let pid = std::process::id();
    let facts = Facts::read(pid).unwrap();
    assert_eq!((facts.pid, facts.role), (pid, None));
    assert_eq!(facts.owns(Ns::Net), Some(false), "a process is never apart from itself");
    assert!(facts.status.data.unwrap() > 0);
    assert!(facts.descriptors.as_ref().unwrap().total() >= 3);
    let findings = verify(pid, RoleName::Session, Ground::Root, &Expectations::default()).unwrap_err();
    for what in ["mount namespace", "net namespace", "root directory", "network", "RLIMIT_DATA", "Seccomp"] {
        assert!(findings.iter().any(|f| f.what == what), "{what} in {findings:?}");
    }
    assert_eq!(Row::of(facts, &Expectations::default()).standing(), Standing::Beside);
    assert!(!find_gatepost().unwrap().contains(&pid));
}

#[test]
fn p7_a_process_that_is_not_there_does_not_pass() {
    // Beyond the kernel's largest process id.
    let findings = verify(1 << 30, RoleName::Session, Ground::Root, &Expectations::default()).unwrap_err();
    assert_eq!(findings[0].what, "/proc");
}
