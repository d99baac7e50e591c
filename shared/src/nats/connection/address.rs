//! URLs of servers. A login in one is taken out before the client gets the URL, because the client
//! neither uses it nor keeps it out of its logs.

use async_nats::ServerAddr;

use super::ConnectError;

/// The login that a URL names, decoded.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    User { name: String, password: String },
    Token(String),
}

/// The addresses of these URLs, and the login that they name; several URLs may repeat it.
pub(super) fn addresses(urls: &[String]) -> Result<(Vec<ServerAddr>, Option<Login>), ConnectError> {
    if urls.is_empty() {
        return Err(ConnectError::NoUrl);
    }
    let (mut addresses, mut login) = (Vec::new(), None);
    for url in urls {
        let (address, named) = parse(url.trim())?;
        addresses.push(address);
        match (&login, named) {
            (Some(first), Some(second)) if *first != second => return Err(ConnectError::TwoLogins),
            (None, Some(first)) => login = Some(first),
            (_, _) => {}
        }
    }
    Ok((addresses, login))
}

fn parse(text: &str) -> Result<(ServerAddr, Option<Login>), ConnectError> {
    let bad = |hint| ConnectError::BadUrl { url: without_secrets(text), hint };
    let hint = if text.contains('@') { ENCODE } else { "" };
    let address: ServerAddr = text.parse().map_err(|_| bad(hint))?;
    let login = match (address.username(), address.password()) {
        (None, None) => None,
        (Some(token), None) => Some(Login::Token(decoded(token).ok_or_else(|| bad(ENCODE))?)),
        (name, Some(password)) => Some(Login::User {
            name: decoded(name.unwrap_or_default()).ok_or_else(|| bad(ENCODE))?,
            password: decoded(password).ok_or_else(|| bad(ENCODE))?,
        }),
    };
    let mut url = address.into_inner();
    // Where a login holds a # that is not encoded, the rest of it would be read as a fragment.
    let rest = [Some(url.path().trim_start_matches('/')), url.query(), url.fragment()];
    if rest.iter().flatten().any(|part| part.contains('@')) {
        return Err(bad(ENCODE));
    }
    if login.is_some() {
        // Only a URL without a host takes no login.
        url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| bad(""))?;
    }
    Ok((ServerAddr::from_url(url).map_err(|_| bad(""))?, login))
}

/// What a URL with a login may lack.
const ENCODE: &str = "; in a login, write % as %25, @ as %40, # as %23, / as %2F, : as %3A";

/// Percent-decoded; `None` where that makes no text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(first);
        }
    }
    String::from_utf8(bytes).ok()
}

pub(super) fn shown(urls: &[String]) -> String {
    let urls: Vec<_> = urls.iter().map(|url| without_secrets(url)).collect();
    urls.join(", ")
}

/// Hides the login that a URL may carry, because it must not reach a log. A part of one that was
/// cut at a comma looks like a port that is no number.
fn without_secrets(url: &str) -> String {
    let start = url.find("://").map_or(0, |scheme| scheme + 3);
    let (scheme, rest) = url.split_at(start);
    if let Some(at) = rest.rfind('@') {
        return format!("{scheme}…{}", &rest[at..]);
    }
    match rest.rsplit_once(':') {
        Some((host, port)) if !port.bytes().all(|b| b.is_ascii_digit()) && !host.contains('[') => {
            format!("{scheme}{host}:…")
        }
        Some(_) | None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(url: &str) -> Option<Login> {
        addresses(&[url.to_owned()]).map_err(|error| error.to_string()).unwrap().1
    }

    #[test]
    fn a_login_is_decoded_and_leaves_the_address() {
        let user = |name: &str, password: &str| {
            Some(Login::User { name: name.to_owned(), password: password.to_owned() })
        };
        assert!(login("nats://a:4222").is_none());
        assert!(login("nats://plain:abc@a:4222") == user("plain", "abc"));
        assert!(login("plain:abc@a:4222") == user("plain", "abc"));
        assert!(login("tls://p%40x:p%40ss%231%2Fw%25%C3%A9%3A@a") == user("p@x", "p@ss#1/w%é:"));
        assert!(login("nats://s3cr%2Ct@a") == Some(Login::Token("s3cr,t".to_owned())));
        let (addresses, _) = addresses(&["nats://me:secret@a:1".to_owned()]).ok().unwrap();
        assert_eq!(addresses[0].as_url_str(), "nats://a:1");
    }

    #[test]
    fn servers_of_one_cluster_share_one_login() {
        let urls = |second: &str| ["nats://me:x@a".to_owned(), second.to_owned()];
        assert!(addresses(&urls("nats://b")).is_ok());
        assert!(addresses(&urls("nats://me:x@b")).is_ok());
        assert!(matches!(addresses(&urls("nats://me:y@b")), Err(ConnectError::TwoLogins)));
    }

    #[test]
    fn a_bad_url_is_named_without_its_login() {
        for (url, shown, hint) in [
            ("nats://me:secret@:::/", "nats://…@:::/", true),
            ("me:secret@:::/", "…@:::/", true),
            ("nats://me:1#secret@host", "nats://…@host", true),
            ("nats://me:1/secret@host", "nats://…@host", true),
            ("nats://me:secret%zz@host", "nats://…@host", true),
            ("nats://me:secret", "nats://me:…", false),
            ("http://host", "http://host", false),
        ] {
            let error = addresses(&[url.to_owned()]).err().expect(url).to_string();
            assert!(error.contains(shown) && !error.contains("secret"), "{error}");
            assert_eq!(error.contains("%25"), hint, "{error}");
        }
        assert_eq!(without_secrets("nats://[::1]:4222"), "nats://[::1]:4222");
    }
}
