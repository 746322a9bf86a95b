//! The URL of a gate or of an admin API.

use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use http::Uri;
use http::uri::Authority;

/// What to connect to, and what to ask for.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: String,
    /// Host, and port where the URL has one.
    pub authority: Authority,
    pub path: String,
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(url: &str) -> Result<Self> {
        ensure!(
            !url.starts_with("https://"),
            "the probe speaks plain HTTP. Ask each gateway's pod at its port without TLS (its containerPort, not \
             the Service's), such as by `kubectl port-forward POD 8080:8080` and `--host NAME`"
        );
        ensure!(url.starts_with("http://"), "it does not begin with http://");
        let uri: Uri = url.parse().context("not a URL")?;
        let authority = uri.authority().context("there has to be a host")?.clone();
        let host = authority.host();
        ensure!(!host.is_empty() && !authority.as_str().contains('@'), "a host, and no user");
        let port = if authority.as_str() == host { Some(80) } else { authority.port_u16() };
        let address = format!("{host}:{}", port.context("the port is not a number")?);
        let query = uri.query().map(|query| format!("?{query}"));
        let path = uri.path().to_owned() + &query.unwrap_or_default();
        Ok(Self { address, path, authority })
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn a_url_is_a_host_a_port_and_a_path() {
        for (url, expected) in [
            ("http://gate", ["gate:80", "gate", "/"]),
            ("http://gate:8080/a/b?c=d#e", ["gate:8080", "gate:8080", "/a/b?c=d"]),
            ("http://10.0.0.1?a", ["10.0.0.1:80", "10.0.0.1", "/?a"]),
            ("http://[::1]:81/", ["[::1]:81", "[::1]:81", "/"]),
        ] {
            let Target { address, authority, path } = url.parse().unwrap();
            assert_eq!([&address, authority.as_str(), &path], expected);
        }
        for (url, reason) in [
            ("https://gate/", "port-forward"),
            ("gate:80", "does not begin with http"),
            ("http://", "not a URL"),
            ("http://:80/", "a host"),
            ("http://me:secret@gate/", "no user"),
            ("http://gate:http/", "the port is not a number"),
            ("http://gate:65536/", "the port is not a number"),
            ("http://gate/a b", "invalid uri character"),
        ] {
            let error = format!("{:#}", url.parse::<Target>().unwrap_err());
            assert!(error.contains(reason), "{url}: {error}");
        }
    }
}
