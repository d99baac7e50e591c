//! The settings of a service, and what is wrong with them: told at start, not at the first request.

use hyper::Uri;

/// A base URL, secret or root certificates with which no request can be made.
#[derive(Debug, thiserror::Error)]
pub enum BadSettings {
    /// Names the setting.
    #[error(
        "{0} is not set: it is the URL below which the service's paths begin; {ways}",
        ways = crate::config::ways(.0, "https://host/path")
    )]
    NoUrl(&'static str),
    #[error("{0} must look like http://host:port/path")]
    UrlOf(&'static str),
    #[error("a base URL must look like http://host:port/path")]
    Url,
    #[error("a secret must be printable ASCII")]
    Secret,
    #[error("the certificates of this machine cannot be read")]
    Certificates(#[source] std::io::Error),
}

/// The URL of a service that a worker cannot do without; `setting` names it for the operator.
///
/// # Errors
/// [`BadSettings::NoUrl`] when it is not set: no default could be right anywhere but on a
/// developer's machine. [`BadSettings::UrlOf`] when it is no base URL.
pub fn given<'u>(setting: &'static str, url: &'u str) -> Result<&'u str, BadSettings> {
    if url.trim().is_empty() {
        return Err(BadSettings::NoUrl(setting));
    }
    let is_base = |uri: Uri| matches!(uri.scheme_str(), Some("http" | "https"));
    if url.parse().is_ok_and(is_base) { Ok(url) } else { Err(BadSettings::UrlOf(setting)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_of_a_wrong_url_is_named() {
        let said = |url| given("charge.url", url).map_err(|error| error.to_string());
        assert_eq!(said("https://host/v1"), Ok("https://host/v1"));
        let missing = said(" ").unwrap_err();
        assert!(missing.starts_with("charge.url is not set: "));
        assert!(missing.contains("\n  QUADRILLE_CHARGE__URL=https://host/path in"), "{missing}");
        for wrong in ["foo", "ftp://host/", "host:80/v1", "http//x"] {
            let named = "charge.url must look like http://host:port/path";
            assert_eq!(said(wrong).unwrap_err(), named, "{wrong}");
        }
    }
}
