//! Who may read, and who may act.
//!
//! Reading is open to this machine, where `listen` is an address of it; elsewhere it needs the
//! token, or a proxy that says who asks. Acting always needs one of the two.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use quadrille::service::problem::Problem;
use uuid::Uuid;

use crate::Settings;

/// The rules, as the settings make them.
pub(crate) struct Access {
    token: String,
    /// The name of the cookie that a browser reads with, where reading needs the token.
    cookie: String,
    /// Reading needs no token.
    open: bool,
    /// In which a proxy names who asks.
    user_header: Option<HeaderName>,
    pub(crate) read_only: bool,
}

impl Access {
    /// Reads the token in the folder, or makes one, which all replicas of the folder then share.
    ///
    /// # Errors
    /// When the file cannot be read or written, or the header's name is none.
    pub(crate) fn new(settings: &Settings) -> anyhow::Result<Self> {
        let file = settings.folder.join("token");
        let token = token(&file).with_context(|| format!("the token, {}", file.display()))?;
        let user_header = settings.user_header.as_deref().filter(|name| !name.is_empty());
        let user_header = user_header
            .map(|name| name.parse().with_context(|| format!("query.user_header: {name:?}")));
        Ok(Self {
            // Two services on one host would otherwise overwrite each other's.
            cookie: format!("quadrille-{}", token.get(..6).unwrap_or_default()),
            token,
            open: settings.open || settings.listen.ip().is_loopback(),
            user_header: user_header.transpose()?,
            read_only: settings.read_only,
        })
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Whether this request may be answered with what the log holds.
    pub(crate) fn may_read(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if self.is_named(headers) || self.has_token(headers) || self.has_cookie(headers) {
            return Ok(());
        }
        if !self.open {
            let detail = "reading needs the token that this process printed when it started: open \
                          the page's address with it, or send Authorization: Bearer TOKEN";
            return Err(Problem::new(401, "no-token", "the token is missing", detail));
        }
        if is_of_this_machine(headers) {
            return Ok(());
        }
        let detail = "this address answers for localhost and 127.0.0.1 only, because a page of \
                      another site could read it under a name of its own";
        Err(Problem::new(421, "other-host", "not this host", detail))
    }

    /// Whether this request may change something. A cookie is not enough, because a browser adds it
    /// to the requests of other sites, too.
    pub(crate) fn may_act(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if self.read_only {
            let detail = "this service only reads: query.read_only is set";
            return Err(Problem::new(403, "read-only", "nothing is changed here", detail));
        }
        let site = headers.get("sec-fetch-site");
        if site.is_some_and(|site| site != "same-origin" && site != "none") {
            let detail = "a page of another site asked for this";
            return Err(Problem::new(403, "other-site", "not from another site", detail));
        }
        if self.is_named(headers) || self.has_token(headers) {
            return Ok(());
        }
        let detail = "send Authorization: Bearer TOKEN, with the token that this process printed \
                      when it started; it is also in the file `token` of query.folder";
        Err(Problem::new(401, "no-token", "the token is missing", detail))
    }

    /// The cookie with which a browser reads, for one that has shown the token.
    pub(crate) fn cookie(&self) -> HeaderValue {
        let text = format!("{}={}; Path=/; HttpOnly; SameSite=Strict", self.cookie, self.token);
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
    }

    pub(crate) fn has_token(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = value.and_then(|value| value.strip_prefix("Bearer "));
        token.is_some_and(|token| same(token.trim(), &self.token))
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|text| text.to_str().ok());
        let mut pairs = cookies.flat_map(|text| text.split(';')).filter_map(|one| {
            let (name, value) = one.trim().split_once('=')?;
            (name == self.cookie).then_some(value)
        });
        pairs.any(|value| same(value, &self.token))
    }

    /// Whether a proxy says who asks.
    fn is_named(&self, headers: &HeaderMap) -> bool {
        let value = self.user_header.as_ref().and_then(|name| headers.get(name));
        value.is_some_and(|value| !value.is_empty())
    }
}

/// Takes the same time wherever they differ.
fn same(a: &str, b: &str) -> bool {
    let differ = a.bytes().zip(b.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b));
    a.len() == b.len() && differ == 0
}

/// A request without the header is no browser's.
fn is_of_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let host = host.to_str().unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|b| b.is_ascii_digit()) { name } else { host }
    });
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let address = name.parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// What the file says, once it says anything; the first replica writes it.
fn token(file: &Path) -> std::io::Result<String> {
    let read = || Some(std::fs::read_to_string(file).ok()?.trim().to_owned());
    if let Some(token) = read().filter(|token| !token.is_empty()) {
        return Ok(token);
    }
    // 122 bits from the system's own source.
    let new = Uuid::new_v4().simple().to_string();
    let part = file.with_file_name(format!(".token-{}", Uuid::new_v4().simple()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&part)?.write_all(new.as_bytes())?;
    // It takes no name that another replica has taken meanwhile.
    let linked = std::fs::hard_link(&part, file);
    std::fs::remove_file(&part)?;
    match (linked, read()) {
        (Ok(()), _) => Ok(new),
        (Err(_), Some(token)) if !token.is_empty() => Ok(token),
        (Err(error), _) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(settings: Settings) -> (tempfile::TempDir, Access) {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { folder: folder.path().to_owned(), ..settings };
        let access = Access::new(&settings).unwrap();
        (folder, access)
    }

    fn headers(pairs: &[(&'static str, String)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, String)| {
            (HeaderName::from_static(name), HeaderValue::try_from(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    fn status(answer: Result<(), Problem>) -> u16 {
        answer.map_or_else(|problem| problem.status, |()| 200)
    }

    #[test]
    fn this_machine_reads_and_only_the_token_acts() {
        let (_folder, access) = access(Settings::default());
        let local = ("host", "localhost:8420".to_owned());
        let token = ("authorization", format!("Bearer {}", access.token()));
        let wrong = ("authorization", "Bearer 0".to_owned());
        assert_eq!(status(access.may_read(&headers(std::slice::from_ref(&local)))), 200);
        assert_eq!(status(access.may_act(&headers(std::slice::from_ref(&local)))), 401);
        assert_eq!(status(access.may_act(&headers(&[local.clone(), wrong]))), 401);
        assert_eq!(status(access.may_act(&headers(&[local, token.clone()]))), 200);
        let other = ("host", "evil.example".to_owned());
        assert_eq!(status(access.may_read(&headers(std::slice::from_ref(&other)))), 421);
        let site = ("sec-fetch-site", "cross-site".to_owned());
        assert_eq!(status(access.may_act(&headers(&[token, site]))), 403);
    }

    #[test]
    fn elsewhere_reading_needs_the_token_too() {
        let listen = ([0, 0, 0, 0], 8420).into();
        let (_folder, access) = access(Settings { listen, ..Settings::default() });
        assert_eq!(status(access.may_read(&headers(&[]))), 401);
        let cookie = access.cookie().to_str().unwrap().to_owned();
        assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
        let pair = cookie.split(';').next().unwrap().to_owned();
        let cookie = headers(&[("cookie", format!("a=b; {pair}"))]);
        assert_eq!(status(access.may_read(&cookie)), 200);
        assert_eq!(status(access.may_act(&cookie)), 401);
    }

    #[test]
    fn a_proxy_may_say_who_asks() {
        let listen = ([0, 0, 0, 0], 8420).into();
        let user_header = Some("X-Forwarded-User".to_owned());
        let (_folder, access) = access(Settings { listen, user_header, ..Settings::default() });
        let named = headers(&[("x-forwarded-user", "ann".to_owned())]);
        assert_eq!((status(access.may_read(&named)), status(access.may_act(&named))), (200, 200));
        let unnamed = headers(&[("x-forwarded-user", String::new())]);
        assert_eq!(status(access.may_read(&unnamed)), 401);
    }

    #[test]
    fn a_service_that_only_reads_refuses_the_token_too() {
        let (_folder, access) = access(Settings { read_only: true, ..Settings::default() });
        let token = headers(&[("authorization", format!("Bearer {}", access.token()))]);
        assert_eq!(status(access.may_act(&token)), 403);
    }

    #[test]
    fn a_token_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let first = token(&file).unwrap();
        assert_eq!(token(&file).unwrap(), first);
        assert!(first.len() >= 32);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
