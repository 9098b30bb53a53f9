//! Signs TLS handshakes, counted, and nothing else.
#![forbid(unsafe_code)]
