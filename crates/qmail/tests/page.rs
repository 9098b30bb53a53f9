//! The page that an admin reads says what the code does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use gatepost_qmail::switches::TABLE;

#[test]
fn every_safe_choice_is_on_the_page_with_its_switch() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/qmail/README.md")).unwrap();
    for switch in TABLE {
        let row = format!("| `{}` | {} | {} | {} |", switch.name, switch.default, switch.does, switch.why);
        assert!(page.lines().any(|line| line == row), "examples/qmail/README.md needs this row:\n{row}");
    }
    let rows = page.lines().filter(|line| line.starts_with("| `GATEPOST_")).count();
    assert_eq!(rows, TABLE.len(), "the page has a row of a switch that is not there any more");
}
