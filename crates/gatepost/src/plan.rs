//! From a configuration to the launcher's plan.

use gatepost_config as config;
use gatepost_launcher::plan::{Backend, Connect, Limits, Listen, PairSource, Plan, Relax, Users};
use std::path::Path;
use std::time::Duration;

/// Reads a configuration. The error is the whole list of its mistakes, ready to be shown.
pub(crate) fn from_file(path: &Path) -> Result<Plan, String> {
    let config = config::Config::load(path).map_err(|faults| faults.to_string())?;
    let relaxed = |step| config.jail.relax.contains(&step);
    Ok(Plan {
        spool: config.spool,
        users: match config.users {
            config::Users::Named(prefix) => Users::Accounts(prefix),
            config::Users::From(first) => Users::From(first),
        },
        listen: config.listen.iter().map(|l| Listen { address: l.address, v6only: l.v6only, tls: l.tls }).collect(),
        pairs: config.tls.pairs.into_iter().map(pair).collect(),
        tls_required: config.tls.required,
        tls13_only: config.tls.minimum == config::TlsVersion::V1_3,
        leniency: config.smtp,
        domains: config.relay.domains,
        any_domain: false,
        clients: config.relay.clients,
        relax: Relax {
            namespaces: relaxed(config::Relax::Namespaces),
            landlock: relaxed(config::Relax::Landlock),
            distinct_users: relaxed(config::Relax::DistinctUsers),
        },
        backend: backend(config.backend),
        limits: limits(&config.limits),
        receiver: None,
        trial: false,
        rehearsal: false,
        hostname: config.hostname,
    })
}

fn pair(pair: config::Pair) -> PairSource {
    PairSource::Files { names: pair.names, certificate: pair.certificate, key: pair.key }
}

fn backend(backend: config::Backend) -> Backend {
    let connect = backend.connect.into_iter().map(|connect| match connect {
        config::Connect::Unix(path) => Connect::Unix(path),
        config::Connect::Tcp(address) => Connect::Tcp(address),
    });
    Backend {
        dialect: backend.dialect,
        identity: backend.identity,
        connect: connect.collect(),
        queue: backend.queue,
        relay_proof: backend.relay_proof,
        reply_timeout: seconds(backend.reply_timeout),
    }
}

fn limits(limits: &config::Limits) -> Limits {
    Limits {
        data: limits.data,
        sessions: limits.sessions,
        sessions_per_address: limits.sessions_per_address,
        offences: limits.offences,
        message_size: limits.message_size,
        recipients: limits.recipients,
        hops: limits.hops,
        command_timeout: seconds(limits.command_timeout),
        content_timeout: seconds(limits.content_timeout),
        minimum_rate: limits.minimum_rate,
        session_time: seconds(limits.session_time),
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}
