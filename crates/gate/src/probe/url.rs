//! The URL that is probed.

use anyhow::{Context, Result, bail};

/// Where the gate is.
#[derive(Debug, PartialEq, Eq)]
pub struct Url {
    /// Host and port.
    pub address: String,
    /// Host, and port where the URL has one.
    pub authority: String,
    pub path: String,
}

impl Url {
    pub fn parse(url: &str) -> Result<Self> {
        let refuse = |why: &str| format!("{url:?} is not http://host[:port][/path]: {why}");
        if url.starts_with("https://") {
            bail!(
                "{url}: the probe speaks plain HTTP. Ask each gateway's pod at its port without TLS \
                 (its containerPort, not the Service's; Istio's ingress has 8080 or 80), such as by \
                 `kubectl port-forward POD 8080:8080` and `deploy/probe.sh http://127.0.0.1:8080/ \
                 --host NAME`"
            );
        }
        let Some(rest) = url.strip_prefix("http://") else {
            bail!(refuse("it does not begin with http://"));
        };
        if let Some(bad) = rest.chars().find(|c| !c.is_ascii_graphic()) {
            bail!(refuse(&format!("it holds {bad:?}; write that percent-encoded")));
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        // The colons of an IPv6 address are within brackets.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (authority, "80"),
        };
        if host.is_empty() || authority.contains('@') {
            bail!(refuse("there has to be a host, and no user"));
        }
        let port: u16 = port.parse().with_context(|| refuse("the port is not a number"))?;
        Ok(Self {
            address: format!("{host}:{port}"),
            authority: authority.to_owned(),
            path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Url;

    #[test]
    fn a_url_is_a_host_a_port_and_a_path() {
        for (url, address, authority, path) in [
            ("http://gate", "gate:80", "gate", "/"),
            ("http://gate:8080/a/b?c=d#e", "gate:8080", "gate:8080", "/a/b?c=d"),
            ("http://10.0.0.1?a", "10.0.0.1:80", "10.0.0.1", "/?a"),
            ("http://[::1]/", "[::1]:80", "[::1]", "/"),
            ("http://[::1]:81/", "[::1]:81", "[::1]:81", "/"),
        ] {
            let parsed = Url::parse(url).unwrap();
            assert_eq!(
                (&*parsed.address, &*parsed.authority, &*parsed.path),
                (address, authority, path)
            );
        }
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_the_reason() {
        for (url, reason) in [
            ("https://gate/", "port-forward"),
            ("gate:80", "does not begin with http://"),
            ("http://", "there has to be a host"),
            ("http://:80/", "there has to be a host"),
            ("http://me:secret@gate/", "no user"),
            ("http://gate:http/", "the port is not a number"),
            ("http://gate:65536/", "the port is not a number"),
            ("http://gate/a b", "holds ' '"),
        ] {
            let error = format!("{:#}", Url::parse(url).unwrap_err());
            assert!(error.contains(reason), "{error}");
        }
    }
}
