//! Certificates, the remote signer, the keyholder's own check of what it signs.
#![forbid(unsafe_code)]
