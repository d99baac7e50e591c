//! The settings of a service, and what is wrong with them: told at start, not at the first request.

/// A base URL, secret or root certificates with which no request can be made.
#[derive(Debug, thiserror::Error)]
pub enum BadSettings {
    /// Names the setting.
    #[error(
        "{0} is not set: it is the URL below which the service's paths begin, such as \
         https://host/path"
    )]
    NoUrl(&'static str),
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
/// developer's machine.
pub fn given<'u>(setting: &'static str, url: &'u str) -> Result<&'u str, BadSettings> {
    if url.trim().is_empty() { Err(BadSettings::NoUrl(setting)) } else { Ok(url) }
}
