//! Faulty configurations, and how each mistake is shown.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // Functions shared by tests, too.

use gatepost_config::{Config, Fault, Faults};
use std::path::Path;

/// Sound; each test breaks a piece of it.
const SOUND: &str = r#"hostname = "mx.example.org"
spool = "/var/spool/gatepost"
users = "gatepost"

[[listen]]
address = "0.0.0.0:25"
tls = "starttls"
proxy_from = []

[tls]
certificate = "/etc/gatepost/tls/cert.pem"
key = "/etc/gatepost/tls/key.pem"
required = false
minimum = "1.2"

[relay]
domains = ["example.org", ".example.net"]
clients = []

[backend]
profile = "postfix"
connect = "unix:/var/spool/postfix/public/gatepost"
identity = "xclient"
relay_proof = true
reply_timeout = "540s"

[smtp]
no_helo = false
bare_lf = "refuse"

[names]
servers = ["192.0.2.53"]

[limits]
data = "1MiB"
sessions = 1000
sessions_per_address = 20
message_size = "50MiB"
recipients = 1000
command_timeout = "5m"
session_time = "1h"
drain = "60s"

[jail]
relax = []
"#;

fn faults(text: &str) -> Faults {
    Config::parse(text, Path::new("gatepost.toml")).expect_err(text)
}

/// What the carets of a fault stand under.
fn marked(fault: &Fault) -> String {
    let shown = fault.to_string();
    let (source, carets) = shown
        .lines()
        .zip(shown.lines().skip(1))
        .find(|(_, below)| below.contains('|') && below.trim_end().ends_with('^'))
        .unwrap_or_else(|| panic!("no carets in {shown}"));
    source.chars().zip(carets.chars()).filter(|(_, caret)| *caret == '^').map(|(c, _)| c).collect()
}

/// Line and column, from 1, of `part` in `text`.
fn position(text: &str, part: &str) -> (usize, usize) {
    let before = &text[..text.find(part).unwrap_or_else(|| panic!("no {part} in {text}"))];
    let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

/// A piece of [`SOUND`], what stands there instead, what is marked, and fragments of the sentence and the advice.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str);

const ROWS: &[Row] = &[
    // The top.
    ("\"mx.example.org\"", "\"mx\"", "\"mx\"", "hostname: \"mx\" is not a full host name", "\"mx.example.org\""),
    (
        "\"mx.example.org\"",
        "\"mx.example.org.\"",
        "\"mx.example.org.\"",
        "does not end with a dot",
        "write \"mx.example.org\"",
    ),
    ("\"mx.example.org\"", "\"mx_1.example.org\"", "\"mx_1.example.org\"", "'_' has no place", "xn--"),
    ("\"mx.example.org\"", "\"mx.exämple.org\"", "\"mx.exämple.org\"", "'ä' has no place", "xn--"),
    ("\"mx.example.org\"", "\"192.0.2.1\"", "\"192.0.2.1\"", "an address of a host", "write a host name"),
    ("\"mx.example.org\"", "\"\"", "\"\"", "a domain is missing", "write a host name"),
    (
        "\"mx.example.org\"",
        "\"localhost.localdomain\"",
        "\"localhost.localdomain\"",
        "is not the name of this machine alone",
        "the name that its address has in DNS",
    ),
    ("\"mx.example.org\"", "\"mail.localdomain\"", "\"mail.localdomain\"", "not the name of this machine", ""),
    ("\"mx.example.org\"", "\"mx.localhost\"", "\"mx.localhost\"", "not the name of this machine", ""),
    ("\"mx.example.org\"", "\"mx.invalid\"", "\"mx.invalid\"", "not the name of this machine", ""),
    ("\"mx.example.org\"", "25", "25", "hostname: a number, not a text", "write \"25\""),
    ("\"mx.example.org\"", "true", "true", "hostname: true or false, not a text", "double quotes"),
    (
        "\"/var/spool/gatepost\"",
        "\"spool\"",
        "\"spool\"",
        "spool: \"spool\" is not an absolute path",
        "begin it with a slash",
    ),
    ("\"/var/spool/gatepost\"", "\"/var/../etc\"", "\"/var/../etc\"", "is no plain path", "without \"..\""),
    ("\"/var/spool/gatepost\"", "\"/\"", "\"/\"", "is no plain path", ""),
    ("spool =", "spol =", "spol", "unknown key \"spol\" at the top", "write spool"),
    ("users =", "sessions =", "sessions", "unknown key \"sessions\" at the top", "it belongs in [limits]"),
    ("users =", "colour =", "colour", "unknown key \"colour\" at the top", "known here: hostname, spool"),
    ("users =", "spool =", "spool", "given twice", "take one out"),
    ("\"gatepost\"", "0", "0", "users: 0 is too little", "write 1 or more"),
    ("\"gatepost\"", "\"61000\"", "\"61000\"", "read as a name", "write 61000 without quotes"),
    ("\"gatepost\"", "65530", "65530", "include that of nobody", "write 65536 or more"),
    ("\"gatepost\"", "4294967290", "4294967290", "is too much", "write 4294967280 or less"),
    ("\"gatepost\"", "-5", "-5", "out of range", "positive"),
    ("\"gatepost\"", "\"Gate Post\"", "\"Gate Post\"", "cannot begin the name of an account", "lower-case"),
    // [[listen]]
    ("[[listen]]", "[listen]", "[listen]", "may stand several times", "write [[listen]]"),
    (
        "\"0.0.0.0:25\"",
        "\"*:25\"",
        "\"*:25\"",
        "listen.address: \"*:25\" is no address and port",
        "write \"[::]:25\", or \"0.0.0.0:25\" for IPv4 alone",
    ),
    ("\"0.0.0.0:25\"", "\"0.0.0.0\"", "\"0.0.0.0\"", "is no address and port", "write \"0.0.0.0:25\""),
    ("\"0.0.0.0:25\"", "\"::\"", "\"::\"", "is no address and port", "write \"[::]:25\""),
    ("\"0.0.0.0:25\"", "\"mx:25\"", "\"mx:25\"", "is no address and port", "such as \"[::]:25\""),
    ("\"0.0.0.0:25\"", "\"[::ffff:192.0.2.1]:25\"", "\"[::ffff:192.0.2.1]:25\"", "in IPv6 form", "\"192.0.2.1:25\""),
    (
        "\"0.0.0.0:25\"",
        "\"0.0.0.0:25\"\nv6only = true",
        "true",
        "listen.v6only: an IPv4 address takes no IPv6",
        "\"[::]:25\"",
    ),
    (
        "\"0.0.0.0:25\"",
        "\"[::]:25\"\nv6only = 1",
        "1",
        "listen.v6only: a number, not true or false",
        "write true or false",
    ),
    (
        "tls = \"starttls\"",
        "tls = \"startls\"",
        "\"startls\"",
        "listen.tls: \"startls\" is not known",
        "\"starttls\", \"implicit\" or \"off\"",
    ),
    ("\"0.0.0.0:25\"", "25\n[[listen]]", "25", "listen.address: a number, not a text", ""),
    ("tls = \"starttls\"", "tls = true", "true", "listen.tls: true or false, not a text", ""),
    (
        "proxy_from = []",
        "proxy_from = [\"0.0.0.0/0\"]",
        "\"0.0.0.0/0\"",
        "0.0.0.0/0 would let everyone say who he is",
        "load balancers",
    ),
    (
        "proxy_from = []",
        "proxy_from = \"10.0.0.0/8\"",
        "\"10.0.0.0/8\"",
        "a text, not a list",
        "write [\"10.0.0.0/8\"]",
    ),
    ("proxy_from = []", "proxyfrom = []", "proxyfrom", "unknown key \"proxyfrom\" in [[listen]]", "write proxy_from"),
    (
        "[tls]",
        "[[listen]]\naddress = \"127.0.0.1:25\"\n[tls]",
        "\"127.0.0.1:25\"",
        "127.0.0.1:25 is taken by 0.0.0.0:25",
        "another address",
    ),
    (
        "[tls]",
        "[[listen]]\naddress = \"[::]:25\"\nv6only = false\n[tls]",
        "\"[::]:25\"",
        "[::]:25 is taken by 0.0.0.0:25",
        "another address",
    ),
    // [tls]
    ("certificate = \"/etc/gatepost/tls/cert.pem\"", "", "[tls]", "tls.certificate is missing", "goes with the key"),
    ("key = \"/etc/gatepost/tls/key.pem\"", "", "[tls]", "tls.key is missing", "goes with the certificate"),
    (
        "\"/etc/gatepost/tls/key.pem\"",
        "\"key.pem\"",
        "\"key.pem\"",
        "tls.key: \"key.pem\" is not an absolute path",
        "slash",
    ),
    ("certificate =", "certficate =", "certficate", "unknown key \"certficate\" in [tls]", "write certificate"),
    ("[relay]", "[rellay]", "rellay", "unknown key \"rellay\" at the top", "write relay"),
    (
        "[limits]",
        "[[network]]\nexempt = true\n[limits]",
        "[[network]]",
        "network.networks is missing",
        "networks = [\"192.0.2.0/24\"]",
    ),
    (
        "[limits]",
        "[[network]]\nnetworks = [\"::/0\"]\nexempt = true\n[limits]",
        "\"::/0\"",
        "network.networks: ::/0 would exempt everyone",
        "offences = 0",
    ),
    (
        "[limits]",
        "[[network]]\nnetworks = [\"192.0.2.1/24\"]\n[limits]",
        "\"192.0.2.1/24\"",
        "network.networks: ",
        "192.0.2.0/24",
    ),
    (
        "[limits]",
        "[[network]]\nnetworks = [\"::/0\"]\nrelay = true\n[limits]",
        "\"::/0\"",
        "network.networks: ::/0 would let everyone relay",
        "your own networks",
    ),
    (
        "[limits]",
        "[[network]]\nnetworks = [\"::1\"]\nhide = [\"AUTH\"]\n[limits]",
        "\"AUTH\"",
        "network.hide: \"AUTH\" is no keyword that EHLO shows",
        "PIPELINING",
    ),
    (
        "[limits]",
        "[[network]]\nnetworks = [\"::1\"]\nmessage_size = \"51MiB\"\n[limits]",
        "\"51MiB\"",
        "network.message_size: 51MiB is too much",
        "50MiB",
    ),
    (
        "[limits]",
        "[rates]\nconnections = \"120\"\n[limits]",
        "\"120\"",
        "rates.connections: \"120\" is no rate",
        "120/m",
    ),
    (
        "[limits]",
        "[rates]\nconnections = \"120/d\"\n[limits]",
        "\"120/d\"",
        "rates.connections: \"120/d\" is no rate",
        "/h",
    ),
    (
        "[limits]",
        "[rates]\nconnections = \"0/m\"\n[limits]",
        "\"0/m\"",
        "rates.connections: \"0/m\" lets nobody in",
        "none",
    ),
    (
        "[limits]",
        "[rates]\nconnections = \"1000001/m\"\n[limits]",
        "\"1000001/m\"",
        "rates.connections: \"1000001/m\" is too much",
        "1000000 or less",
    ),
    (
        "[limits]",
        "[rates]\nconnections = \"+1/m\"\n[limits]",
        "\"+1/m\"",
        "rates.connections: \"+1/m\" is no rate",
        "120/m",
    ),
    (
        "[limits]",
        "[rates]\nconnections = \"off\"\n[limits]",
        "\"off\"",
        "rates.connections: \"off\" is no rate",
        "none",
    ),
    (
        "[limits]",
        "[network]\nnetworks = [\"192.0.2.0/24\"]\n[limits]",
        "[network]",
        "may stand several times",
        "write [[network]]",
    ),
    ("[[listen]]", "[[lsten]]", "lsten", "unknown key \"lsten\" at the top", "write listen"),
    ("minimum = \"1.2\"", "minimum = 1.2", "1.2", "tls.minimum: a number, not a text", "write \"1.2\""),
    ("minimum = \"1.2\"", "minimum = \"1.1\"", "\"1.1\"", "\"1.1\" is not known", "\"1.2\" or \"1.3\""),
    ("required = false", "required = \"no\"", "\"no\"", "tls.required: a text, not true or false", "without quotes"),
    ("[relay]", "[tls.pair]\n[relay]", "[tls.pair]", "takes two brackets", "write [[tls.pair]]"),
    (
        "[relay]",
        "[[tls.pair]]\nnames = [\"*.example.org\"]\ncertificate = \"/c\"\nkey = \"/k\"\n[relay]",
        "\"*.example.org\"",
        "tls.pair.names: \"*.example.org\": a star",
        "write out each name",
    ),
    (
        "[relay]",
        "[[tls.pair]]\nnames = [\"a.test\"]\nkey = \"/k\"\n[relay]",
        "[[tls.pair]]",
        "tls.pair.certificate is missing",
        "",
    ),
    // [relay]
    (
        "\".example.net\"",
        "\"*.example.net\"",
        "\"*.example.net\"",
        "relay.domains: \"*.example.net\": a star",
        "write \".example.net\"",
    ),
    ("\".example.net\"", "\"joe@example.net\"", "\"joe@example.net\"", "a whole address", "write \"example.net\""),
    ("\".example.net\"", "\"example.net.\"", "\"example.net.\"", "does not end with a dot", "write \"example.net\""),
    ("\".example.net\"", "\"example..net\"", "\"example..net\"", "two dots in a row", "write a domain"),
    ("\".example.net\"", "\"192.0.2.1\"", "\"192.0.2.1\"", "an address of a host", "relay.clients"),
    ("\".example.net\"", "\"\"", "\"\"", "a domain is missing", "take it out"),
    ("\".example.net\"", "25", "25", "relay.domains: a number, not a text", ""),
    (
        "domains = [\"example.org\", \".example.net\"]",
        "domains = \"example.org\"",
        "\"example.org\"",
        "a text, not a list",
        "write [\"example.org\"]",
    ),
    (
        "clients = []",
        "clients = [\"192.0.2.7/24\"]",
        "\"192.0.2.7/24\"",
        "bits are set beyond the prefix",
        "write \"192.0.2.0/24\"",
    ),
    ("clients = []", "clients = [\"0.0.0.0/0\"]", "\"0.0.0.0/0\"", "would let everyone relay", "your own networks"),
    ("clients = []", "clients = [\"::/0\"]", "\"::/0\"", "would let everyone relay", "your own networks"),
    ("clients = []", "clients = [\"localhost\"]", "\"localhost\"", "no IPv4 or IPv6 address", "192.0.2.0/24"),
    ("clients = []", "domains_cdb = \"x.cdb\"", "\"x.cdb\"", "not an absolute path", "slash"),
    ("relax = []", "[admission]\nrules = \"x\"", "\"x\"", "not an absolute path", "slash"),
    (
        "relax = []",
        "[[admission.list]]\nweight = 2",
        "[[admission.list]]",
        "admission.list.zone is missing",
        "bl.example.net",
    ),
    ("relax = []", "[[admission.list]]\nzone = \"bl\"", "\"bl\"", "is no domain", "bl.example.net"),
    (
        "relax = []",
        "[[admission.list]]\nzone = \"bl.test\"\nask = \"ip\"",
        "\"ip\"",
        "\"ip\" is not known",
        "\"address\", \"name\" or \"helo\"",
    ),
    (
        "relax = []",
        "[[admission.list]]\nzone = \"wl.test\"\nkind = \"allow\"\nask = \"helo\"",
        "\"helo\"",
        "a client says in HELO whatever name it likes",
        "ask = \"name\"",
    ),
    (
        "relax = []",
        "[[admission.list]]\nzone = \"bl.test\"\ncodes = [\"127.0.0.9-127.0.0.2\"]",
        "\"127.0.0.9-127.0.0.2\"",
        "the first is behind the last",
        "127.0.0.2-127.0.0.9",
    ),
    (
        "relax = []",
        "[[admission.list]]\nzone = \"bl.test\"\ncodes = [\"192.0.2.1\"]",
        "\"192.0.2.1\"",
        "not in 127.0.0.0/8",
        "127.0.0.2",
    ),
    (
        "relax = []",
        "[[admission.list]]\nzone = \"bl.test\"\ncodes = [\"127.0.0.2-127.255.255.255\"]",
        "\"127.0.0.2-127.255.255.255\"",
        "by which a list refuses to answer",
        "127.0.0.2",
    ),
    (
        "relax = []",
        "[admission]\nrefuse_at = 2\n[[admission.list]]\nzone = \"bl.test\"\n",
        "2",
        "2 is never reached",
        "write less",
    ),
    ("clients = []", "domains_file = \"x\"", "\"x\"", "not an absolute path", "slash"),
    // [backend]
    ("profile = \"postfix\"", "", "[backend]", "backend.profile is missing", "profile = \"postfix\""),
    ("\"postfix\"", "\"posfix\"", "\"posfix\"", "\"posfix\" is not known", "\"postfix\", \"exim\""),
    (
        "connect = \"unix:/var/spool/postfix/public/gatepost\"",
        "",
        "[backend]",
        "backend.connect is missing",
        "connect = ",
    ),
    (
        "connect = \"unix:/var/spool/postfix/public/gatepost\"",
        "connect = []",
        "[backend]",
        "backend.connect is missing",
        "",
    ),
    (
        "\"unix:/var/spool/postfix/public/gatepost\"",
        "\"/run/sock\"",
        "\"/run/sock\"",
        "no place to connect to",
        "write \"unix:/run/sock\"",
    ),
    (
        "\"unix:/var/spool/postfix/public/gatepost\"",
        "\"unix:run/sock\"",
        "\"unix:run/sock\"",
        "not an absolute path",
        "slash",
    ),
    (
        "\"unix:/var/spool/postfix/public/gatepost\"",
        "\"127.0.0.1:26\"",
        "\"127.0.0.1:26\"",
        "no place to connect to",
        "write \"tcp:127.0.0.1:26\"",
    ),
    (
        "\"unix:/var/spool/postfix/public/gatepost\"",
        "\"tcp:localhost:26\"",
        "\"tcp:localhost:26\"",
        "is no address and port",
        "not a name",
    ),
    ("\"unix:/var/spool/postfix/public/gatepost\"", "\"tcp:127.0.0.1:0\"", "\"tcp:127.0.0.1:0\"", "has port 0", ""),
    (
        "\"unix:/var/spool/postfix/public/gatepost\"",
        "\"tcp:0.0.0.0:26\"",
        "\"tcp:0.0.0.0:26\"",
        "is no address to connect to",
        "127.0.0.1",
    ),
    (
        "\"unix:/var/spool/postfix/public/gatepost\"",
        "\"tcp:127.0.0.1:25\"",
        "\"tcp:127.0.0.1:25\"",
        "mail would loop",
        "where the backend listens",
    ),
    (
        "\"unix:/var/spool/postfix/public/gatepost\"",
        "[\"unix:/a\", \"inet:b\"]",
        "\"inet:b\"",
        "no place to connect to",
        "\"unix:/path",
    ),
    (
        "identity = \"xclient\"",
        "identity = \"none\"",
        "\"none\"",
        "postfix cannot be told by \"none\"",
        "write \"xclient\": without it postfix",
    ),
    (
        "identity = \"xclient\"",
        "identity = \"proxy\"",
        "\"proxy\"",
        "\"proxy\" is not known",
        "\"xclient\", \"proxy-v2\" or \"none\"",
    ),
    (
        "identity = \"xclient\"",
        "sessions = 5",
        "sessions",
        "unknown key \"sessions\" in [backend]",
        "it belongs in [limits]",
    ),
    (
        "identity = \"xclient\"",
        "hostname = \"a\"",
        "hostname",
        "unknown key \"hostname\" in [backend]",
        "the top of the file",
    ),
    // Tables.
    ("[names]", "[senders]\nrefuse = [\"a.test\"]\n[names]", "\"a.test\"", "no address", "\"@example.org\""),
    ("[names]", "[senders]\nrefuse = [\"/(/\"]\n[names]", "\"/(/\"", "a parenthesis is not closed", ""),
    ("[names]", "[helo]\nrefuse = [\"a b\"]\n[names]", "\"a b\"", "a blank", ".example.org"),
    ("[names]", "[helo]\nvalid = []\n[names]", "valid", "unknown key \"valid\" in [helo]", "[recipients]"),
    (
        "[names]",
        "[submission]\nsenders = [\"joe\"]\n[names]",
        "\"joe\"",
        "a login without an address",
        "joe@example.org",
    ),
    ("[names]", "[submission]\nsenders = [\"joe a@b@c\"]\n[names]", "\"joe a@b@c\"", "no address", "joe@example.org"),
    // TLS with the backend.
    (
        "identity = \"xclient\"",
        "tls = \"starttl\"",
        "\"starttl\"",
        "\"starttl\" is not known",
        "\"starttls\", \"implicit\"",
    ),
    ("identity = \"xclient\"", "tls = \"starttls\"", "\"starttls\"", "a unix socket does not leave", "\"tcp:...\""),
    (
        "identity = \"xclient\"",
        "ca = \"/ca.pem\"",
        "\"/ca.pem\"",
        "there is no TLS with the backend",
        "tls = \"starttls\"",
    ),
    ("identity = \"xclient\"", "name = \"mta.test\"", "\"mta.test\"", "there is no TLS", "tls = \"implicit\""),
    ("identity = \"xclient\"", "tls = \"off\"\nca = \"ca.pem\"", "\"ca.pem\"", "not an absolute path", "slash"),
    ("identity = \"xclient\"", "tls = \"off\"\nname = \"a b\"", "\"a b\"", "\"a b\"", "host name"),
    (
        "identity = \"xclient\"",
        "tls = \"off\"\ncertificate = \"/c.pem\"",
        "[backend]",
        "backend.key is missing",
        "that goes with the certificate",
    ),
    ("\"540s\"", "\"540s\"\ntexts = \"ours\"", "\"ours\"", "\"ours\" is not known", "\"pass\" or \"hide\""),
    ("\"540s\"", "\"10m\"", "\"10m\"", "10m is too much", "write 599s or less"),
    ("\"540s\"", "\"0s\"", "\"0s\"", "0s is too little", "write 1s or more"),
    ("\"540s\"", "540", "540", "540 has no unit", "write \"540s\""),
    ("\"540s\"", "\"540\"", "\"540\"", "540 has no unit", "write \"540s\""),
    ("\"540s\"", "\"9 min\"", "\"9 min\"", "is no duration", "\"5m\""),
    ("\"540s\"", "\"99999999999999999999s\"", "\"99999999999999999999s\"", "is no duration", ""),
    ("\"540s\"", "\"18446744073709551615h\"", "\"18446744073709551615h\"", "is too long", "less"),
    // [smtp]
    (
        "no_helo = false",
        "no_helo = \"false\"",
        "\"false\"",
        "smtp.no_helo: a text, not true or false",
        "without quotes",
    ),
    ("\"refuse\"", "\"accept\"", "\"accept\"", "smtp.bare_lf: \"accept\" is not known", "\"refuse\" or \"normalize\""),
    (
        "bare_lf = \"refuse\"",
        "bare_lf_in_chunks = \"no\"",
        "\"no\"",
        "smtp.bare_lf_in_chunks: \"no\" is not known",
        "\"refuse\" or \"normalize\"",
    ),
    ("no_helo = false", "no_ehlo = false", "no_ehlo", "unknown key \"no_ehlo\" in [smtp]", "write no_helo"),
    // [names]
    (
        "192.0.2.53",
        "ns.example.org",
        "\"ns.example.org\"",
        "names.servers: \"ns.example.org\" is no address",
        "such as \"127.0.0.1\"",
    ),
    ("192.0.2.53", "0.0.0.0", "\"0.0.0.0\"", "is no address of a name server", ""),
    ("192.0.2.53", "192.0.2.53:0", "\"192.0.2.53:0\"", "is no address of a name server", ""),
    (
        "servers = [\"192.0.2.53\"]",
        "servers = \"192.0.2.53\"",
        "\"192.0.2.53\"",
        "a text, not a list",
        "write [\"192.0.2.53\"]",
    ),
    ("servers = [\"192.0.2.53\"]", "wait = \"31s\"", "\"31s\"", "names.wait: 31s is too much", "write 30s or less"),
    // [limits]
    (
        "\"5m\"",
        "\"5m\"\nspool_size = \"49MiB\"",
        "\"49MiB\"",
        "limits.spool_size: 49MiB is too little",
        "write 50MiB or more",
    ),
    ("\"5m\"", "\"5m\"\nhops = 24", "24", "limits.hops: 24 is too little", "write 25 or more"),
    ("\"5m\"", "\"5m\"\nhops = 1001", "1001", "limits.hops: 1001 is too much", "write 1000 or less"),
    (
        "\"5m\"",
        "\"5m\"\ncontent_timeout = \"0s\"",
        "\"0s\"",
        "limits.content_timeout: 0s is too little",
        "write 1s or more",
    ),
    ("\"5m\"", "\"5m\"\nminimum_rate = \"1k\"", "\"1k\"", "limits.minimum_rate: a text", "write a whole number"),
    ("\"1MiB\"", "\"100KiB\"", "\"100KiB\"", "limits.data: 100KiB is too little", "write 512KiB or more"),
    ("\"1MiB\"", "1024", "1024", "limits.data: 1KiB is too little", "write 512KiB or more"),
    ("\"1MiB\"", "\"2GiB\"", "\"2GiB\"", "2GiB is too much", "write 1GiB or less"),
    ("\"50MiB\"", "\"50MB\"", "\"50MB\"", "\"50MB\" has an unknown unit", "write \"50MiB\""),
    ("\"50MiB\"", "\"50m\"", "\"50m\"", "has an unknown unit", "write \"50MiB\""),
    ("\"50MiB\"", "\"50 MiB\"", "\"50 MiB\"", "has an unknown unit", "write \"50MiB\""),
    ("\"50MiB\"", "\"50€\"", "\"50€\"", "has an unknown unit", "KiB, MiB or GiB"),
    ("\"50MiB\"", "\"large\"", "\"large\"", "is no size", "\"50MiB\""),
    ("\"50MiB\"", "\"\"", "\"\"", "is no size", ""),
    ("\"50MiB\"", "\"99999999999999GiB\"", "\"99999999999999GiB\"", "is too much", "less"),
    ("\"50MiB\"", "5.5", "5.5", "a broken number, not a whole number", ""),
    ("sessions = 1000", "sessions = 0", "0", "limits.sessions: 0 is too little", "write 1 or more"),
    ("sessions = 1000", "sessions = 99999999999999999999", "99999999999999999999", "", ""),
    ("recipients = 1000", "recipients = 65536", "65536", "65536 is too much", "write 65535 or less"),
    ("recipients = 1000", "recipients = 99", "99", "99 is too little", "write 100 or more"),
    ("recipients = 1000", "recipients = \"1000\"", "\"1000\"", "a text, not a number", "write 1000 without quotes"),
    ("\"5m\"", "\"2h\"", "\"2h\"", "2h is too much", "write 1h or less"),
    ("\"1h\"", "1979-05-27", "1979-05-27", "a date, not a text", ""),
    (
        "sessions = 1000",
        "offences = 1000001",
        "1000001",
        "limits.offences: 1000001 is too much",
        "write 1000000 or less",
    ),
    // [jail]
    (
        "relax = []",
        "relax = [\"landlok\"]",
        "\"landlok\"",
        "\"landlok\" is not known",
        "\"namespaces\", \"landlock\" or \"distinct-users\"",
    ),
    ("relax = []", "relax = \"landlock\"", "\"landlock\"", "a text, not a list", "write [\"landlock\"]"),
    ("[jail]", "[[jail]]", "[[jail]]", "jail is a list, not a section", "write [jail]"),
    ("[jail]", "[prison]", "prison", "unknown key \"prison\"", "known here:"),
    // No TOML.
    ("\"mx.example.org\"", "mx.example.org", "mx.example.org", "a text without quotes", "double quotes"),
    ("\"mx.example.org\"", "", " ", "a value is missing", "after the ="),
    ("\"mx.example.org\"", "\"mx.example.org", " ", "not closed", "close it with \""),
    ("[tls]", "[tls", " ", "a heading that is not closed", "]"),
    ("\".example.net\"]", "\".example.net\"", "c", "a list that is not closed", "]"),
    ("sessions = 1000", "sessions = 1000\nsessions = 1000", "sessions", "given twice", "take one out"),
];

#[test]
fn config_faults_are_shown_where_they_are_with_what_to_write() {
    for (piece, instead, under, what, advice) in ROWS {
        assert!(SOUND.contains(piece), "{piece}");
        let text = SOUND.replacen(piece, instead, 1);
        let faults = faults(&text);
        let all: Vec<&Fault> = faults.iter().collect();
        let [fault] = all[..] else { panic!("one mistake, {} faults for {instead}:\n{faults}", all.len()) };
        let (line, column) = fault.position().unwrap();
        let shown = fault.to_string();
        assert!(fault.what().contains(what), "{what:?} in\n{shown}");
        assert!(fault.advice().contains(advice), "{advice:?} in\n{shown}");
        assert!(shown.starts_with(&format!("gatepost.toml:{line}:{column}: ")), "{shown}");
        let source = text.lines().nth(line - 1).unwrap();
        assert!(shown.contains(&format!("\n{line} | {source}\n").replace(" \n", "\n")), "{shown}");
        // A caret may stand right after the end of a line.
        let marked = marked(fault);
        if !(marked.is_empty() && *under == " ") {
            assert_eq!(marked, *under, "{shown}");
            let part: String = source.chars().skip(column - 1).take(under.chars().count()).collect();
            assert_eq!(part, *under, "{shown}");
        }
    }
}

#[test]
fn config_a_queue_program_is_named_by_its_path() {
    let text = |connect: &str, more: &str| {
        SOUND
            .replace("profile = \"postfix\"", "profile = \"qmail-queue\"")
            .replace("\"unix:/var/spool/postfix/public/gatepost\"", connect)
            .replace("relay_proof = true", more)
            .replace("identity = \"xclient\"", "")
    };
    let table = [
        ("\"tcp:127.0.0.1:25\"", "", "is no path of a program"),
        ("\"bin/qmail-queue\"", "", "is no path of a program"),
        ("\"/var/qmail/bin/qmail-queue\"", "relay_proof = true", "qmail-queue takes a message for whomever it is"),
        ("\"/var/qmail/bin/qmail-queue\"", "queue_user = \"qmaild:\"", "is no account"),
        ("\"/var/qmail/bin/qmail-queue\"", "queue_as = 0", "0 is too little"),
        ("\"/var/qmail/bin/qmail-queue\"", "home = \"qmail\"", "home"),
    ];
    for (connect, more, fragment) in table {
        let faults = faults(&text(connect, more));
        assert_eq!(faults.iter().count(), 1, "{faults}");
        assert!(faults.to_string().contains(fragment), "{fragment:?} in\n{faults}");
    }
    let other = faults(&SOUND.replace("relay_proof = true", "queue_user = \"qmaild\""));
    assert!(other.to_string().contains("only a queue program has that"), "{other}");
}

#[test]
fn issue_8_tls_is_for_backends_that_speak_it_and_has_authorities_of_its_own() {
    let tcp = SOUND.replace("unix:/var/spool/postfix/public/gatepost", "tcp:192.0.2.5:587\"\ntls = \"starttls");
    let tls = Config::parse(&tcp, Path::new("gatepost.toml")).unwrap().backend.tls.unwrap();
    // The address is verified by the system's authorities.
    assert_eq!((tls.name, tls.pair), (None, None));
    assert_eq!(tls.ca, Path::new("/etc/ssl/certs/ca-certificates.crt"));
    let qmqp = tcp.replace("profile = \"postfix\"", "profile = \"qmqp\"").replace("identity = \"xclient\"\n", "");
    let shown = faults(&qmqp.replace("relay_proof = true\n", "")).to_string();
    assert!(shown.contains("backend.tls: qmqp knows no TLS"), "{shown}");
}

#[test]
fn p7_a_backend_that_nothing_can_be_asked_of_proves_nothing() {
    let text = SOUND.replace("profile = \"postfix\"", "profile = \"qmqp\"").replace("identity = \"xclient\"\n", "");
    let faults = faults(&text);
    assert_eq!(faults.iter().count(), 1, "{faults}");
    assert!(faults.to_string().contains("relay_proof: qmqp takes a message for whomever it is"), "{faults}");
    for line in ["relay_proof = false", ""] {
        let config = Config::parse(&text.replace("relay_proof = true", line), Path::new("gatepost.toml")).unwrap();
        assert!(!config.backend.relay_proof);
    }
}

#[test]
fn p4_identity_must_make_sense_to_the_backend() {
    const UNIX: &str = "\"unix:/run/mta.sock\"";
    const TCP: &str = "\"tcp:127.0.0.1:26\"";
    const BOTH: &str = "[\"unix:/run/mta.sock\", \"tcp:127.0.0.1:26\"]";
    // Profile, place, given; then what comes of it, or a fragment of the fault.
    let table: &[(&str, &str, &str, Result<&str, &str>)] = &[
        ("postfix", UNIX, "", Ok("Xclient")),
        ("postfix", TCP, "", Ok("Xclient")),
        ("postfix", BOTH, "proxy-v2", Ok("ProxyV2")),
        ("postfix", UNIX, "none", Err("takes every client for its own machine")),
        ("exim", TCP, "", Ok("ProxyV2")),
        ("exim", TCP, "xclient", Ok("Xclient")),
        ("exim", TCP, "none", Err("takes every client for its own machine")),
        ("exim", UNIX, "", Err("exim does not listen for SMTP on a unix socket")),
        ("opensmtpd", TCP, "", Ok("ProxyV2")),
        ("opensmtpd", TCP, "xclient", Err("opensmtpd cannot be told by \"xclient\"")),
        ("opensmtpd", BOTH, "", Err("opensmtpd does not listen for SMTP on a unix socket")),
        ("sendmail", UNIX, "", Ok("None")),
        ("qmqp", BOTH, "", Ok("None")),
        ("qmqp", TCP, "xclient", Err("write \"none\"")),
        ("sendmail", TCP, "", Ok("None")),
        ("sendmail", TCP, "xclient", Err("write \"none\"")),
        ("dovecot-lmtp", TCP, "", Ok("Xclient")),
        ("dovecot-lmtp", TCP, "proxy-v2", Ok("ProxyV2")),
        ("dovecot-lmtp", TCP, "none", Ok("None")),
        ("dovecot-lmtp", UNIX, "", Ok("None")),
        ("dovecot-lmtp", BOTH, "", Ok("None")),
        ("dovecot-lmtp", UNIX, "xclient", Err("write \"none\"")),
        ("dovecot-lmtp", BOTH, "xclient", Err("write \"none\"")),
        ("cyrus-lmtp", UNIX, "", Ok("None")),
        ("cyrus-lmtp", UNIX, "proxy-v2", Err("write \"none\"")),
        ("smtp", TCP, "", Ok("None")),
        ("smtp", TCP, "xclient", Ok("Xclient")),
        ("smtp", UNIX, "proxy-v2", Ok("ProxyV2")),
        ("lmtp", UNIX, "", Ok("None")),
        ("lmtp", UNIX, "xclient", Ok("Xclient")),
    ];
    for (profile, place, given, expected) in table {
        let identity = if given.is_empty() { String::new() } else { format!("identity = \"{given}\"") };
        let text = SOUND
            .replace("profile = \"postfix\"", &format!("profile = \"{profile}\""))
            .replace("\"unix:/var/spool/postfix/public/gatepost\"", place)
            .replace("relay_proof = true\n", "")
            .replace("identity = \"xclient\"", &identity);
        match (Config::parse(&text, Path::new("gatepost.toml")), expected) {
            (Ok(config), Ok(identity)) => {
                assert_eq!(format!("{:?}", config.backend.identity), *identity, "{profile} {place} {given}");
            }
            (Err(faults), Err(fragment)) => assert!(faults.to_string().contains(fragment), "{fragment:?} in\n{faults}"),
            (other, _) => panic!("{profile} {place} {given}: {other:?}"),
        }
    }
}

#[test]
fn issue_12_mistakes_in_a_route() {
    for (route, what, advice) in [
        ("domains = [\"a.test\"]", "route.backend.profile is missing", "write in [route.backend]"),
        ("backend = { profile = \"lmtp\", connect = \"tcp:127.0.0.1:24\" }", "route.domains is missing", "domains = ["),
        (
            "domains = [\"*.a.test\"]\nbackend = { profile = \"lmtp\", connect = \"tcp:127.0.0.1:24\" }",
            "a star",
            "\".a.test\"",
        ),
        (
            "domains = [\"a.test\", \"A.test\"]\nbackend = { profile = \"lmtp\", connect = \"tcp:127.0.0.1:24\" }",
            "\"a.test\" stands in two places",
            "take one of them out",
        ),
        (
            "recipients = [\"a.test\"]\nbackend = { profile = \"lmtp\", connect = \"tcp:127.0.0.1:24\" }",
            "no address",
            "user@",
        ),
        ("domains = [\"a.test\"]\nbackend = { profile = \"qmail-queue\" }", "a queue program can't be", "qmqp"),
        (
            "domains = [\"a.test\"]\nbackend = { profile = \"lmtp\", connect = \"tcp:127.0.0.1:24\", connections = 150 }",
            "connections: 150 in all backends, and 150 may be",
            "write fewer",
        ),
        (
            "domains = [\"a.test\"]\nbackend = { profile = \"smtp\", connect = \"tcp:127.0.0.1:25\" }",
            "mail would loop",
            "",
        ),
        (
            "domain = [\"a.test\"]\nbackend = { profil = \"lmtp\" }",
            "unknown key \"profil\" in [route.backend]",
            "profile",
        ),
    ] {
        let shown = faults(&format!("{SOUND}\n[[route]]\n{route}\n")).to_string();
        assert!(shown.contains(what) && shown.contains(advice), "{route}\n{shown}");
    }
}

#[test]
fn config_tells_all_mistakes_at_once_in_the_order_of_the_text() {
    let text = SOUND
        .replace("\"mx.example.org\"", "\"mx\"")
        .replace("spool =", "spol =")
        .replace("tls = \"starttls\"", "tls = \"on\"")
        .replace("\"example.org\", \".example.net\"", "\"*.a.test\", \"fine.test\", \"b@c.test\"")
        .replace("\"540s\"", "\"1d\"")
        .replace("sessions = 1000", "sessions = -1");
    let faults = faults(&text);
    let places: Vec<(usize, usize)> = faults.iter().map(|fault| fault.position().unwrap()).collect();
    let expected: Vec<(usize, usize)> = ["\"mx\"", "spol", "\"on\"", "\"*.a.test\"", "\"b@c.test\"", "\"1d\"", "-1"]
        .iter()
        .map(|part| position(&text, part))
        .collect();
    assert_eq!(places, expected, "{faults}");
}

#[test]
fn config_missing_altogether_names_every_key_without_a_default() {
    let faults = faults("");
    let shown = faults.to_string();
    for line in [
        "gatepost.toml:1:1: hostname is missing",
        "gatepost.toml:1:1: the listener at [::]:25 is to speak TLS, and there is no certificate",
        "gatepost.toml:1:1: relay.domains is missing",
        "gatepost.toml:1:1: backend.profile is missing",
        "gatepost.toml:1:1: backend.connect is missing",
    ] {
        assert!(shown.lines().any(|each| each == line), "{line:?} in\n{shown}");
    }
    assert_eq!(faults.iter().count(), 5, "{shown}");
}

#[test]
fn config_text_that_is_no_toml_does_not_make_its_keys_missing() {
    let text = SOUND.replace("\"mx.example.org\"", "mx").replace("profile = \"postfix\"", "profile \"postfix\"");
    let text = text.replace("\"540s\"", "\"600s\"");
    let faults = faults(&text);
    let lines: Vec<usize> = faults.iter().map(|fault| fault.position().unwrap().0).collect();
    assert_eq!(lines, [1, position(&text, "profile").0, position(&text, "\"600s\"").0], "{faults}");
}

#[test]
fn config_no_toml_here_hides_no_mistake_there() {
    // What breaks the text; the lines of the faults then, besides that of the wrong timeout.
    let list = "domains = [\n  \"a.test\"\n  \"b.test\",\n]";
    for (piece, instead, lines) in [
        ("[relay]", "[relay", &[16][..]),
        ("[[listen]]", "[[listen]", &[5]),
        ("\".example.net\"]", "\".example.net\"", &[18]),
        ("\".example.net\"]\nclients = []", "\".example.net\"", &[19]),
        ("\"example.org\", \".example.net\"", "\"example.org\" \".example.net\"", &[17]),
        ("domains = [\"example.org\", \".example.net\"]", list, &[19]),
        ("clients = []", "clients", &[18]),
        ("clients = []", "\"clients = []", &[18]),
        ("clients = []", "= []", &[18]),
        ("clients = []", "]", &[18]),
        ("[tls]", "]tls[", &[10]),
        ("\"/etc/gatepost/tls/key.pem\"", "'/etc", &[12]),
        ("\"/etc/gatepost/tls/key.pem\"", "/etc", &[12]),
        ("\"gatepost\"", "007", &[3]),
        ("\"gatepost\"", "\"\\q\"", &[3]),
        ("[jail]", "[limits]", &[44]),
    ] {
        assert!(SOUND.contains(piece), "{piece}");
        let text = SOUND.replacen(piece, instead, 1).replace("\"540s\"", "\"600s\"");
        let faults = faults(&text);
        let found: Vec<usize> = faults.iter().map(|fault| fault.position().unwrap().0).collect();
        let mut expected = lines.to_vec();
        expected.push(position(&text, "\"600s\"").0);
        expected.sort_unstable();
        assert_eq!(found, expected, "{instead}\n{faults}");
    }
}

#[test]
fn config_tls_must_fit_the_listeners() {
    let bare = SOUND.replace("certificate =", "#").replace("key =", "#");
    let named = "[[tls.pair]]\nnames = [\"a.test\"]\ncertificate = \"/c\"\nkey = \"/k\"\n[relay]";
    for (text, fragment) in [
        (bare.clone(), "the listener at 0.0.0.0:25 is to speak TLS, and there is no certificate"),
        (bare.replace("\"starttls\"", "\"implicit\""), "there is no certificate"),
        (
            bare.replace("\"starttls\"", "\"off\"").replace("required = false", "required = true"),
            "no listener speaks TLS",
        ),
        (bare.replace("[relay]", named), "no pair for clients that name no server"),
    ] {
        let faults = faults(&text);
        assert_eq!(faults.iter().count(), 1, "{faults}");
        assert!(faults.to_string().contains(fragment), "{fragment:?} in\n{faults}");
    }
}

#[test]
fn config_faults_reach_a_terminal_clean_and_short() {
    let escape = "hostname = \"\u{1b}[2J\"\n".replace("\u{1b}[2J", "\\u001b[2J\\n\\u0007");
    let raw = "hostname = \"\u{1b}[2J\"\n".to_owned();
    let long = format!("hostname = \"{}\"\n", "x".repeat(1 << 20));
    let deep = format!("hostname = {}", "[".repeat(100_000));
    let tabs = "\thostname\t=\t\"mx\"\n".to_owned();
    for text in [escape, raw, long, deep, tabs] {
        let shown = faults(&text).to_string();
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{}", shown.escape_debug());
        assert!(
            shown.ends_with('\n') && shown.lines().all(|line| line.chars().count() < 600),
            "{} octets",
            shown.len()
        );
    }
}

#[test]
fn config_carets_of_a_long_line_stay_under_what_they_mean() {
    let filler: Vec<String> = (0..2000).map(|n| format!("\"d{n}.test\"")).collect();
    let list = format!("domains = [{}, \"*.bad.test\", {}]", filler.join(", "), filler.join(", "));
    let text = SOUND.replace("domains = [\"example.org\", \".example.net\"]", &list);
    let faults = faults(&text);
    let fault = faults.iter().next().unwrap();
    assert_eq!(marked(fault), "\"*.bad.test\"", "{fault}");
    assert_eq!(fault.position().unwrap(), position(&text, "\"*.bad.test\""));
}

#[test]
fn issue_12_a_load_balancer_may_not_relay_by_its_own_address() {
    let text = |proxies: &str| {
        let clients = SOUND.replace("clients = []", "clients = [\"192.0.2.0/24\", \"2001:db8::/32\"]");
        clients.replace("proxy_from = []", &format!("proxy_from = [{proxies}]"))
    };
    for proxies in ["\"192.0.2.9\"", "\"192.0.0.0/16\"", "\"198.51.100.1\", \"2001:db8::1\""] {
        let shown = faults(&text(proxies)).to_string();
        assert!(
            shown.contains("may relay by relay.clients") && shown.contains("take it out of one of them"),
            "{shown}"
        );
    }
    let config = Config::parse(&text("\"198.51.100.1\", \"2001:db9::/32\""), Path::new("gatepost.toml")).unwrap();
    let proxies: Vec<String> = config.listen[0].proxy_from.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["198.51.100.1/32", "2001:db9::/32"]);
}
