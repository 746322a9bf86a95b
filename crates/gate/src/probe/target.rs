//! The URL of a gate or of an admin API.

use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use http::Uri;
use http::uri::{Authority, Scheme};

/// What to connect to, and what to ask for.
#[derive(Clone, Debug)]
pub struct Target {
    pub tls: bool,
    pub address: String,
    /// Host, and port where the URL has one.
    pub authority: Authority,
    pub path: String,
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(url: &str) -> Result<Self> {
        let begins = ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
        ensure!(begins, "it does not begin with http:// or https://");
        let uri: Uri = url.parse().context("not a URL")?;
        let tls = uri.scheme() == Some(&Scheme::HTTPS);
        let authority = uri.authority().context("there has to be a host")?.clone();
        let host = authority.host();
        ensure!(!host.is_empty() && !authority.as_str().contains('@'), "a host, and no user");
        let default = if tls { 443 } else { 80 };
        let port = if authority.as_str() == host { Some(default) } else { authority.port_u16() };
        let address = format!("{host}:{}", port.context("the port is not a number")?);
        let query = uri.query().map(|query| format!("?{query}"));
        let path = uri.path().to_owned() + &query.unwrap_or_default();
        Ok(Self { tls, address, authority, path })
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn a_url_is_a_scheme_a_host_a_port_and_a_path() {
        for (url, secure, expected) in [
            ("http://gate", false, ["gate:80", "gate", "/"]),
            ("https://gate", true, ["gate:443", "gate", "/"]),
            ("http://gate:8080/a/b?c=d#e", false, ["gate:8080", "gate:8080", "/a/b?c=d"]),
            ("http://10.0.0.1?a", false, ["10.0.0.1:80", "10.0.0.1", "/?a"]),
            ("https://[::1]:81/", true, ["[::1]:81", "[::1]:81", "/"]),
        ] {
            let Target { tls, address, authority, path } = url.parse().unwrap();
            assert_eq!((tls, [&*address, authority.as_str(), &*path]), (secure, expected));
        }
        for (url, reason) in [
            ("gate:80", "does not begin with http:// or https://"),
            ("ftp://gate", "does not begin with http:// or https://"),
            ("http://", "not a URL"),
            ("http://:80/", "a host"),
            ("https://me:secret@gate/", "no user"),
            ("http://gate:http/", "the port is not a number"),
            ("http://gate:65536/", "the port is not a number"),
            ("http://gate/a b", "invalid uri character"),
        ] {
            let error = format!("{:#}", url.parse::<Target>().unwrap_err());
            assert!(error.contains(reason), "{url}: {error}");
        }
    }
}
