//! The host with a real systemd, and what of `systemd/` can be held without the binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use gatepost_testkit::systemd;
use gatepost_testkit::wait::{SOON, holds};

#[test]
fn two_systemds_run_side_by_side_and_leave_no_group_behind() {
    let Some(one) = systemd::for_test("two_systemds_run_side_by_side_and_leave_no_group_behind", &[]) else { return };
    let other = systemd::for_test("two_systemds_run_side_by_side_and_leave_no_group_behind", &[]).unwrap();
    for host in [&one, &other] {
        host.shell("systemd-run --unit probe --service-type=exec sleep 987").expect_ok("a transient unit");
        assert_eq!(host.property("probe", "ActiveState"), "active");
    }
    one.shell("systemctl stop probe").expect_ok("stop");
    assert_eq!(other.property("probe", "ActiveState"), "active", "units of one are not those of the other");
    let groups = || {
        let all = other.host.shell("ls /run/groups").expect_ok("the machine's groups").stdout;
        all.lines().filter(|name| name.starts_with(&format!("gatepost-test-{}-", std::process::id()))).count()
    };
    assert_eq!(groups(), 2);
    drop(one);
    holds("its group is gone", SOON, || groups() == 1);
}
