//! As much of HTTP/1.1 (RFC 9112) as a reader of counters needs: one GET, one answer, the end. Pure.

/// Longest request that is read, octets: its line and fields. What follows is not read.
pub(crate) const REQUEST_MAX: usize = 4096;

/// The answer to what has come of a request; None: more has to come. `text` is made only when it is asked for.
pub(crate) fn answer(request: &[u8], text: impl FnOnce() -> String) -> Option<Vec<u8>> {
    let whole = request.windows(4).any(|window| window == b"\r\n\r\n") || request.windows(2).any(|w| w == b"\n\n");
    if !whole {
        let long = request.len() >= REQUEST_MAX;
        return long.then(|| refusal("431 Request Header Fields Too Large", "the request is too long"));
    }
    let line = request.split(|octet| *octet == b'\n').next().unwrap_or_default().trim_ascii_end();
    let mut words = line.split(|octet| *octet == b' ');
    let (method, target, version, more) = (words.next(), words.next(), words.next(), words.next());
    Some(match (method, target, version, more) {
        (Some(b"GET"), Some(b"/metrics"), Some(b"HTTP/1.0" | b"HTTP/1.1"), None) => {
            respond("200 OK", "text/plain; version=0.0.4; charset=utf-8", &text())
        }
        (Some(b"GET"), Some(_), Some(b"HTTP/1.0" | b"HTTP/1.1"), None) => refusal("404 Not Found", "there is /metrics"),
        (Some(_), Some(_), Some(b"HTTP/1.0" | b"HTTP/1.1"), None) => {
            refusal("405 Method Not Allowed", "GET is all that there is")
        }
        _ => refusal("400 Bad Request", "this is not HTTP/1.1"),
    })
}

fn refusal(status: &str, text: &str) -> Vec<u8> {
    respond(status, "text/plain; charset=utf-8", &format!("{text}\n"))
}

fn respond(status: &str, kind: &str, body: &str) -> Vec<u8> {
    let allow = if status.starts_with("405") { "Allow: GET\r\n" } else { "" };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{allow}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(request: &[u8]) -> Option<String> {
        let answer = String::from_utf8(answer(request, || "counters\n".to_owned())?).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
        assert_eq!(head.starts_with("HTTP/1.1 200 "), body == "counters\n");
        Some(head.split(' ').nth(1).unwrap().to_owned())
    }

    #[test]
    fn issue_13_one_request_has_one_answer_and_half_a_request_none() {
        let endless = [b"GET /metrics HTTP/1.1\r\nX: ".as_slice(), &[b'x'; REQUEST_MAX]].concat();
        for (request, expected) in [
            (&b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"[..], Some("200")),
            (b"GET /metrics HTTP/1.0\n\n", Some("200")),
            (b"GET / HTTP/1.1\r\n\r\n", Some("404")),
            (b"GET /metrics/../etc HTTP/1.1\r\n\r\n", Some("404")),
            (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", Some("405")),
            (b"GET /metrics\r\n\r\n", Some("400")),
            (b"EHLO x\r\n\r\n", Some("400")),
            (b"\r\n\r\n", Some("400")),
            (b"GET /metrics HTTP/1.1\r\nHost: x\r\n", None),
            (b"", None),
            (&endless, Some("431")),
        ] {
            assert_eq!(status(request).as_deref(), expected, "{}", request.escape_ascii());
        }
        let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        assert!((0..request.len()).all(|cut| status(&request[..cut]).is_none()), "at no place too early");
    }
}
