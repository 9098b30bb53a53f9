//! accept(2) and admission; makes each session's private channels.
#![forbid(unsafe_code)]
