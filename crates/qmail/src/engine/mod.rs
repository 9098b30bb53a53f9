//! qmail-smtpd's dialect of SMTP: octets in, events and replies out.
