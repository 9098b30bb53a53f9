//! The embedded LMTP receiver of gatepost try: mail lands in a Maildir.
#![forbid(unsafe_code)]
