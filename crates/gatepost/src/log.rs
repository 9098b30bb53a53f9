//! Log lines on descriptor 2. The reader of that descriptor, a service manager or a log tool, puts the time in front.

use tracing_subscriber::fmt;

/// Everything from here on that is said with `tracing` goes to descriptor 2, one line each.
pub(crate) fn begin() {
    let format = fmt::format().without_time().with_target(false).with_ansi(false).compact();
    let _ = fmt().event_format(format).with_writer(std::io::stderr).with_max_level(tracing::Level::INFO).try_init();
}
