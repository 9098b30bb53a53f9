//! Numbers to rows, rows to a table.

/// The cells of a row.
pub(crate) type Row = Vec<String>;

/// The middle one; the mean of the two middle ones of an even number; not a number when there is none.
pub(crate) fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    let above = sorted.get(half).copied().unwrap_or(f64::NAN);
    if sorted.len() % 2 == 1 {
        return above;
    }
    let below = half.checked_sub(1).and_then(|i| sorted.get(i).copied()).unwrap_or(f64::NAN);
    f64::midpoint(below, above)
}

/// One work: medians of milliseconds, those of two others with their ratio to Postfix, that of gatepost to Postfix, the ratio of the
/// least of these two, and the aim.
pub(crate) fn processor_row(
    name: &str,
    postfix: &[f64],
    others: [&[f64]; 2],
    gatepost: &[f64],
    aim: Option<f64>,
) -> Row {
    let ratio = median(gatepost) / median(postfix);
    let mut row = vec![name.to_owned(), number(median(postfix), 3)];
    for other in others {
        row.push(number(median(other), 3));
        row.push(format!("({})", number(median(other) / median(postfix), 2)));
    }
    row.extend([
        number(median(gatepost), 3),
        number(ratio, 2),
        number(least(gatepost) / least(postfix), 2),
        aim.map_or_else(String::new, |aim| format!("<= {aim:.2}")),
        aim.map_or_else(String::new, |aim| verdict(ratio, aim)),
    ]);
    row
}

fn least(numbers: &[f64]) -> f64 {
    numbers.iter().copied().fold(f64::NAN, f64::min)
}

/// One server: KiB in its processes and in the kernel.
pub(crate) fn memory_row(name: &str, user: f64, kernel: f64, aim: Option<f64>) -> Row {
    let sum = user + kernel;
    let (aim, verdict) = aim.map_or_else(Default::default, |aim| (format!("<= {aim:.0}"), verdict(sum, aim)));
    vec![name.to_owned(), number(user, 1), number(kernel, 1), number(sum, 1), aim, verdict]
}

/// So many digits after the point; a dash for what was not measured.
pub(crate) fn number(value: f64, digits: usize) -> String {
    if value.is_nan() { "-".to_owned() } else { format!("{value:.digits$}") }
}

/// Whether an aim that is a maximum is reached.
pub(crate) fn verdict(value: f64, aim: f64) -> String {
    if value.is_nan() {
        return String::new();
    }
    if value <= aim { "reached" } else { "NOT REACHED" }.to_owned()
}

/// Prints rows under a heading, each column as wide as it must be; the first to the left, the others to the right.
pub(crate) fn print(heading: &[&str], rows: &[Row]) {
    let heading: Row = heading.iter().map(|cell| (*cell).to_owned()).collect();
    let all = || std::iter::once(&heading).chain(rows);
    let width = |column: usize| all().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    for row in all() {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = width(column);
            if column == 0 { format!("  {cell:<width$}") } else { format!("  {cell:>width$}") }
        });
        println!("{}", cells.collect::<String>().trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert!(median(&[]).is_nan());
        for (numbers, middle) in [(&[3.0][..], 3.0), (&[9.0, 1.0, 2.0], 2.0), (&[4.0, 1.0, 2.0, 100.0], 3.0)] {
            assert!((median(numbers) - middle).abs() < 1e-9, "{numbers:?}");
        }
    }

    #[test]
    fn a_row_says_whether_the_aim_is_reached() {
        let row = |gatepost: &[f64]| processor_row("w", &[1.0, 1.2, 9.0], [&[0.6], &[]], gatepost, Some(0.5));
        let verdict = |gatepost: &[f64]| row(gatepost).pop().unwrap_or_default();
        assert_eq!([verdict(&[0.6]), verdict(&[0.1, 0.7, 0.9]), verdict(&[])], ["reached", "NOT REACHED", ""]);
        assert_eq!(row(&[0.9, 0.6, 0.3]).get(7..9), Some(&["0.50".to_owned(), "0.30".to_owned()][..]));
    }
}
