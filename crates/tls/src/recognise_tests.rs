//! Near misses of the two shapes, each refused for its own reason.

use super::*;
use Party::{Client, Server};
use Refused::*;

/// The context string of a server.
const SERVER: &[u8] = b"TLS 1.3, server CertificateVerify\0";
const CLIENT: &[u8] = b"TLS 1.3, client CertificateVerify\0";
const P256: u16 = 0x0403;
const PSS: u16 = 0x0804;
const PKCS1: u16 = 0x0401;

fn verify(context: &[u8], hash: usize) -> Vec<u8> {
    [&PADDING[..], context, &vec![0xaa; hash]].concat()
}

fn exchange(curve: u8, group: u16, length: u8, point: &[u8]) -> Vec<u8> {
    let mut message = vec![0x11; 32];
    message.extend([0x22; 24]);
    message.extend(DOWNGRADE_MARK);
    message.push(curve);
    message.extend(group.to_be_bytes());
    message.push(length);
    message.extend(point);
    message
}

fn point(form: u8, length: usize) -> Vec<u8> {
    let mut point = vec![0x33; length];
    point[0] = form;
    point
}

fn with(mut message: Vec<u8>, at: usize, octet: u8) -> Vec<u8> {
    message[at] = octet;
    message
}

#[test]
fn p5_the_keyholder_signs_two_shapes_only() {
    let kex = Ok(Kind::ServerKeyExchange);
    let x25519 = || exchange(3, 0x001d, 32, &point(9, 32));
    let p256 = || exchange(3, 0x0017, 65, &point(4, 65));
    let p384 = || exchange(3, 0x0018, 97, &point(4, 97));
    let rows: Vec<(&str, Vec<u8>, Result<Kind, Refused>)> = vec![
        ("server, SHA-256", verify(SERVER, 32), Ok(Kind::CertificateVerify)),
        ("server, SHA-384", verify(SERVER, 48), Ok(Kind::CertificateVerify)),
        ("server, no hash", verify(SERVER, 0), Err(Hash)),
        ("server, hash of 31", verify(SERVER, 31), Err(Hash)),
        ("server, hash of 33", verify(SERVER, 33), Err(Hash)),
        ("server, hash of 64", verify(SERVER, 64), Err(Hash)),
        ("client", verify(CLIENT, 32), Err(Context)),
        ("another case", verify(b"TLS 1.3, Server CertificateVerify\0", 32), Err(Context)),
        ("no separator", verify(b"TLS 1.3, server CertificateVerify", 32), Err(Context)),
        ("delegated credential", verify(b"TLS, server delegated credentials\0", 32), Err(Context)),
        ("exported authenticator", verify(b"Exported Authenticator\0", 32), Err(Context)),
        ("only padding", PADDING.to_vec(), Err(Context)),
        ("one space less", verify(SERVER, 32)[1..].to_vec(), Err(Shape)),
        ("one space more", [&b" "[..], &verify(SERVER, 32)].concat(), Err(Context)),
        ("a tab in the padding", with(verify(SERVER, 32), 63, b'\t'), Err(Shape)),
        ("x25519", x25519(), kex),
        ("P-256", p256(), kex),
        ("P-384", p384(), kex),
        ("x25519, one octet after", exchange(3, 0x001d, 32, &point(9, 33)), Err(Point)),
        ("x25519, one octet less", exchange(3, 0x001d, 32, &point(9, 31)), Err(Point)),
        ("x25519, length and point agree on 33", exchange(3, 0x001d, 33, &point(9, 33)), Err(Point)),
        ("x25519 with P-256's point", exchange(3, 0x001d, 65, &point(4, 65)), Err(Point)),
        ("P-256 with x25519's point", exchange(3, 0x0017, 32, &point(4, 32)), Err(Point)),
        ("P-256, compressed", exchange(3, 0x0017, 33, &point(2, 33)), Err(Point)),
        ("P-256, length of an uncompressed point, another form", exchange(3, 0x0017, 65, &point(2, 65)), Err(Point)),
        ("P-384 with P-256's point", exchange(3, 0x0018, 65, &point(4, 65)), Err(Point)),
        ("no point", exchange(3, 0x001d, 0, &[]), Err(Point)),
        ("P-521", exchange(3, 0x0019, 133, &point(4, 133)), Err(Group(0x0019))),
        ("x448", exchange(3, 0x001e, 56, &point(4, 56)), Err(Group(0x001e))),
        ("ffdhe2048", exchange(3, 0x0100, 32, &point(4, 32)), Err(Group(0x0100))),
        ("explicit curve", exchange(1, 0x001d, 32, &point(9, 32)), Err(Shape)),
        ("curve type 0", exchange(0, 0x001d, 32, &point(9, 32)), Err(Shape)),
        ("server random without the mark", with(x25519(), 63, 0x02), Err(DowngradeMark)),
        ("the mark of a TLS 1.2 server", with(x25519(), 63, 0x00), Err(DowngradeMark)),
        ("no server random", [&[0; 32][..], &x25519()[64..]].concat(), Err(Shape)),
        ("ends in the parameters", x25519()[..67].to_vec(), Err(Shape)),
        ("ends in a random", x25519()[..40].to_vec(), Err(Shape)),
        ("nothing", Vec::new(), Err(Shape)),
        ("a mail", b"From: a@example.org\r\n\r\nI owe you a fortune.\r\n".to_vec(), Err(Shape)),
        ("a certificate request", [&[0x30, 0x82, 1, 0][..], &[0x02; 160]].concat(), Err(Shape)),
        ("zeros", vec![0; 512], Err(Shape)),
        ("spaces", vec![0x20; 512], Err(Context)),
    ];
    for (what, message, expected) in rows {
        assert_eq!(check(Server, P256, &message, KeyKind::P256), expected, "{what}");
        assert_eq!(check(Server, PSS, &message, KeyKind::Rsa), expected, "{what}, RSA");
    }
}

#[test]
fn p5_schemes_fit_key_and_version() {
    let tls13 = verify(SERVER, 32);
    let tls12 = exchange(3, 0x001d, 32, &point(9, 32));
    for scheme in crate::kind::SCHEMES {
        let refused = check(Server, scheme.code, &tls13, scheme.kind);
        let expected = if scheme.tls13 { Ok(Kind::CertificateVerify) } else { Err(SchemeOfTls12) };
        assert_eq!(refused, expected, "{scheme:?}");
        assert_eq!(check(Server, scheme.code, &tls12, scheme.kind), Ok(Kind::ServerKeyExchange), "{scheme:?}");
        for other in [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519, KeyKind::Rsa] {
            if other != scheme.kind {
                assert_eq!(check(Server, scheme.code, &tls12, other), Err(Key), "{scheme:?} with {other:?}");
            }
        }
    }
    assert_eq!(check(Server, PKCS1, &verify(CLIENT, 32), KeyKind::Rsa), Err(SchemeOfTls12));
    for never in [0x0201, 0x0203, 0x0603, 0x0808, 0x0809, 0x0000, 0xffff] {
        assert_eq!(check(Server, never, &tls12, KeyKind::Rsa), Err(Scheme(never)));
    }
}

#[test]
fn p5_any_octet_cut_or_added_is_refused() {
    for good in [verify(SERVER, 32), exchange(3, 0x001d, 32, &point(9, 32)), exchange(3, 0x0018, 97, &point(4, 97))] {
        for length in 0..good.len() {
            assert!(check(Server, P256, &good[..length], KeyKind::P256).is_err(), "{length} of {}", good.len());
        }
        assert!(check(Server, P256, &[&good[..], &[0]].concat(), KeyKind::P256).is_err());
    }
}

/// A message of one shape that is changed into the other would let a signature for an old client be shown to a new one.
#[test]
fn p5_no_message_has_both_shapes() {
    let tls13 = verify(SERVER, 48);
    assert_ne!(tls13[64], NAMED_CURVE);
    assert!(!tls13[32..64].ends_with(DOWNGRADE_MARK));
}

#[test]
fn p5_the_key_of_a_client_signs_one_shape_only() {
    let rows = [
        (verify(CLIENT, 32), Ok(Kind::CertificateVerify)),
        (verify(CLIENT, 48), Ok(Kind::CertificateVerify)),
        (verify(CLIENT, 64), Err(Hash)),
        (verify(SERVER, 32), Err(Context)),
        (exchange(3, 0x001d, 32, &point(9, 32)), Err(Shape)),
        // What a client of TLS 1.2 signs: the handshake so far, which begins with a ClientHello.
        ([&[1, 0, 1, 0, 3, 3][..], &[0x44; 250]].concat(), Err(Shape)),
    ];
    for (message, expected) in rows {
        assert_eq!(check(Client, P256, &message, KeyKind::P256), expected, "{message:?}");
        assert_eq!(check(Client, PSS, &message, KeyKind::Rsa), expected, "{message:?}");
    }
}
