//! Lists of addresses as people and programs write them: RFC 5322 §3.4 with its comments, groups and routes.

/// Addresses that a list may name.
pub const MAX: usize = 10_000;
/// Comments within comments.
const DEPTH_MAX: u8 = 32;

/// Why it is not a list of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadList {
    /// A quote, comment, bracket or literal has no end, or another has no beginning.
    Unbalanced,
    /// Words follow each other that are no address, as in `john doe@example.org` without brackets.
    Words,
    /// More than [`MAX`].
    TooMany,
}

impl std::fmt::Display for BadList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            BadList::Unbalanced => "a quote, comment or bracket without an end",
            BadList::Words => "words that are no address; write commas between addresses, and names before <address>, in quotes where there is an @ in them",
            BadList::TooMany => "too many addresses",
        })
    }
}

/// One word of a list.
#[derive(Debug, PartialEq, Eq)]
enum Token<'a> {
    /// An atom, a quoted string with its quotes, or a literal with its brackets.
    Word(&'a [u8]),
    /// One of `,:;<>@.`
    Mark(u8),
}

/// The addresses of a list in their order, without names, comments and routes: `local-part@domain`, or a local part alone. Whether
/// each is a valid address is not decided here. `<>` gives an empty one.
///
/// # Errors
/// It can't be read as a list without a guess.
pub fn of_list(text: &[u8]) -> Result<Vec<Vec<u8>>, BadList> {
    let tokens = tokens(text)?;
    let mut found = Vec::new();
    let mut member: &[Token<'_>] = &tokens;
    loop {
        let end = end_of_member(member)?;
        let (this, rest) = member.split_at(end);
        let end = rest.split_first();
        // What stands before a colon is the name of a group.
        let address = if let Some((Token::Mark(b':'), _)) = end { None } else { address_of(this)? };
        found.extend(address);
        if found.len() > MAX {
            return Err(BadList::TooMany);
        }
        match end {
            Some((_, rest)) => member = rest,
            None => return Ok(found),
        }
    }
}

/// Tokens up to the comma, semicolon or group's colon that ends the first member.
fn end_of_member(tokens: &[Token<'_>]) -> Result<usize, BadList> {
    let mut inside = false;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Mark(b'<') if inside => return Err(BadList::Unbalanced),
            Token::Mark(b'<') => inside = true,
            Token::Mark(b'>') if !inside => return Err(BadList::Unbalanced),
            Token::Mark(b'>') => inside = false,
            // A route has commas and a colon within its brackets.
            Token::Mark(b',' | b';' | b':') if !inside => return Ok(at),
            _ => {}
        }
    }
    if inside { Err(BadList::Unbalanced) } else { Ok(tokens.len()) }
}

/// The address of one member. None: there is none, as between two commas, or in the name of a group.
fn address_of(member: &[Token<'_>]) -> Result<Option<Vec<u8>>, BadList> {
    let open = member.iter().position(|token| *token == Token::Mark(b'<'));
    let Some(open) = open else {
        return if member.is_empty() { Ok(None) } else { joined(member).map(Some) };
    };
    let before = member.get(..open).unwrap_or_default();
    let inner = member.get(open.saturating_add(1)..).unwrap_or_default();
    let close = inner.iter().position(|token| *token == Token::Mark(b'>')).ok_or(BadList::Unbalanced)?;
    if inner.len() > close.saturating_add(1) {
        return Err(BadList::Words);
    }
    let inner = inner.get(..close).unwrap_or_default();
    // RFC 5322 §4.4: `<@a,@b:user@c>`, of which only the last counts.
    let route = inner.iter().rposition(|token| *token == Token::Mark(b':'));
    let address = joined(route.map_or(inner, |at| inner.get(at.saturating_add(1)..).unwrap_or_default()))?;
    // A name is words, with dots between them in old ones (RFC 5322 §3.4 and §4.1). Another mark makes an address of it, and some would
    // read that one: `a@b.test <c@d.test>`. Written twice, it is the same to everybody.
    let is_name = |token: &Token<'_>| matches!(token, Token::Word(_) | Token::Mark(b'.'));
    let twice = || joined(before).is_ok_and(|before| before.eq_ignore_ascii_case(&address));
    if before.iter().all(is_name) || twice() { Ok(Some(address)) } else { Err(BadList::Words) }
}

/// The tokens of an address, without the white space and comments between them.
fn joined(tokens: &[Token<'_>]) -> Result<Vec<u8>, BadList> {
    let mut address = Vec::new();
    let mut word_before = false;
    for token in tokens {
        match token {
            Token::Word(_) if word_before => return Err(BadList::Words),
            Token::Word(word) => address.extend_from_slice(word),
            Token::Mark(mark @ (b'@' | b'.')) => address.push(*mark),
            Token::Mark(_) => return Err(BadList::Words),
        }
        word_before = matches!(token, Token::Word(_));
    }
    Ok(address)
}

fn tokens(text: &[u8]) -> Result<Vec<Token<'_>>, BadList> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some((first, later)) = rest.split_first() {
        rest = match first {
            b' ' | b'\t' | b'\r' | b'\n' => later,
            b'(' => after_comment(later)?,
            b',' | b':' | b';' | b'<' | b'>' | b'@' | b'.' => {
                tokens.push(Token::Mark(*first));
                later
            }
            b'"' => word(&mut tokens, rest, quoted(rest, b'"')?),
            b'[' => word(&mut tokens, rest, quoted(rest, b']')?),
            b')' | b']' => return Err(BadList::Unbalanced),
            _ => {
                let special = |octet: &u8| b" \t\r\n(),:;<>@.\"[]".contains(octet);
                word(&mut tokens, rest, rest.iter().position(special).unwrap_or(rest.len()))
            }
        };
    }
    Ok(tokens)
}

fn word<'a>(tokens: &mut Vec<Token<'a>>, text: &'a [u8], length: usize) -> &'a [u8] {
    let (word, rest) = text.split_at_checked(length).unwrap_or((text, b""));
    tokens.push(Token::Word(word));
    rest
}

/// Octets up to and with the one that ends what the first octet begins. A backslash takes the next octet as it is.
fn quoted(text: &[u8], end: u8) -> Result<usize, BadList> {
    let mut escaped = false;
    for (at, octet) in text.iter().enumerate().skip(1) {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            octet if *octet == end => return Ok(at.saturating_add(1)),
            _ => {}
        }
    }
    Err(BadList::Unbalanced)
}

/// What follows a comment whose opening bracket was read.
fn after_comment(text: &[u8]) -> Result<&[u8], BadList> {
    let mut depth: u8 = 1;
    let mut escaped = false;
    for (at, octet) in text.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' if depth < DEPTH_MAX => depth = depth.saturating_add(1),
            b'(' => return Err(BadList::Unbalanced),
            b')' if depth == 1 => return Ok(text.get(at.saturating_add(1)..).unwrap_or_default()),
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Err(BadList::Unbalanced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_give_their_addresses() {
        for (list, addresses) in [
            ("root", "root"),
            ("a@b.test, c@d.test", "a@b.test c@d.test"),
            ("A B <a@b.test>, \"C, D\" <c@d.test>", "a@b.test c@d.test"),
            ("a @ b . test (the (inner) one)", "a@b.test"),
            ("(no \\) end)a@b.test", "a@b.test"),
            ("Friends: a@b.test, C <c@d.test>;, e@f.test", "a@b.test c@d.test e@f.test"),
            ("undisclosed-recipients:;", ""),
            ("<@r.test,@s.test:a@b.test>", "a@b.test"),
            ("\"a b\"@c.test", "\"a b\"@c.test"),
            ("a@[192.0.2.1]", "a@[192.0.2.1]"),
            ("\"a\\\"b\"@c.test", "\"a\\\"b\"@c.test"),
            (",, a@b.test ,", "a@b.test"),
            ("\r\n\ta@b.test,\r\n\tc@d.test", "a@b.test c@d.test"),
            ("<>", ""),
            ("J. R. Doe <a@b.test>", "a@b.test"),
            ("\"x@y.test\" (x@y.test) <a@b.test>", "a@b.test"),
            ("a@b.test <a@b.test>, A @ B.test <a@b.test>", "a@b.test a@b.test"),
            ("", ""),
        ] {
            let found = of_list(list.as_bytes()).unwrap_or_else(|e| panic!("{list}: {e}"));
            let found: Vec<_> = found.iter().map(|one| String::from_utf8_lossy(one).into_owned()).collect();
            assert_eq!(found.join(" "), addresses, "{list}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_list() {
        for (list, why) in [
            ("john doe@b.test", BadList::Words),
            ("a@b.test c@d.test", BadList::Words),
            ("<a@b.test> c@d.test", BadList::Words),
            ("c@d.test <a@b.test>", BadList::Words),
            ("C c@d.test <a@b.test>", BadList::Words),
            ("\"c\"@d.test <a@b.test>", BadList::Words),
            ("@d.test <a@b.test>", BadList::Words),
            ("x@y.test, c@(d)d.test <a@b.test>", BadList::Words),
            ("a@b.test a@b.test <a@b.test>", BadList::Words),
            ("<a@b.test", BadList::Unbalanced),
            ("a@b.test>", BadList::Unbalanced),
            ("<<a@b.test>>", BadList::Unbalanced),
            ("\"a@b.test", BadList::Unbalanced),
            ("(a@b.test", BadList::Unbalanced),
            ("a)@b.test", BadList::Unbalanced),
        ] {
            assert_eq!(of_list(list.as_bytes()).unwrap_err(), why, "{list}");
        }
        assert_eq!(of_list(&b"a,".repeat(MAX + 1)).unwrap_err(), BadList::TooMany);
    }
}
