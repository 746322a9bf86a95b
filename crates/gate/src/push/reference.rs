//! The name of an image in a registry.

use std::net::Ipv6Addr;

use anyhow::{Result, ensure};

/// `REGISTRY/NAME:TAG`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// `REGISTRY/NAME`.
    repository: String,
    tag: String,
}

impl Reference {
    /// Reads `REGISTRY/NAME[:TAG]`.
    pub fn parse(text: &str, default_tag: &str) -> Result<Self> {
        let wrong = |what: &str| {
            format!(
                "IMAGE `{text}`: {what}; it is REGISTRY/NAME[:TAG], such as registry.example.com/team/header-gate:1.0"
            )
        };
        ensure!(!text.contains("://"), wrong("a scheme is for the manifests only"));
        ensure!(!text.contains('@'), wrong("the digest comes from the push"));
        let (registry, name) = text.split_once('/').unwrap_or(("", text));
        // Tools guess a registry where none is named, each another one.
        let names_one = registry == "localhost" || registry.contains(['.', ':']);
        ensure!(names_one, wrong("the registry is missing"));
        let (name, tag) = name.split_once(':').unwrap_or((name, default_tag));
        let fits = |text: &str, more: &str| {
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c);
            text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(fits)
        };
        let is_host = is_ipv6(registry) || fits(&registry.to_ascii_lowercase(), ".:-");
        ensure!(is_host, wrong("no registry is called so"));
        ensure!(
            name.split('/').all(is_part),
            wrong(
                "the parts of a name are small letters and digits, with . _ __ or dashes between"
            )
        );
        ensure!(
            fits(&tag.to_ascii_lowercase(), "._-"),
            wrong("a tag has letters, digits and ._- only")
        );
        Ok(Self { repository: format!("{registry}/{name}"), tag: tag.to_owned() })
    }

    /// `REGISTRY/NAME:TAG`, what is pushed to.
    pub fn tagged(&self) -> String {
        format!("{}:{}", self.repository, self.tag)
    }

    /// `REGISTRY/NAME@DIGEST`, what is deployed.
    pub fn at(&self, digest: &str) -> String {
        format!("{}@{digest}", self.repository)
    }
}

/// Whether `text` is an address in brackets, with a port or without.
fn is_ipv6(text: &str) -> bool {
    let Some((address, port)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
        return false;
    };
    let port = port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.parse::<u16>().is_ok());
    address.parse::<Ipv6Addr>().is_ok() && port
}

/// Whether `text` is one part of a repository's name, as registries take it.
fn is_part(text: &str) -> bool {
    // What is left between the letters and digits.
    let between = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let mut between = between.filter(|between| !between.is_empty());
    let ends = text.ends_with(|c: char| c.is_ascii_alphanumeric());
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && ends
        && between.all(|b| matches!(b, "." | "_" | "__") || b.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::Reference;

    #[test]
    fn a_tag_is_added_where_there_is_none() {
        let parse = |text| Reference::parse(text, "0.1.0").unwrap();
        assert_eq!(parse("localhost:5000/gate").tagged(), "localhost:5000/gate:0.1.0");
        let named = parse("registry.example.com/a/gate:V1");
        assert_eq!(named.tagged(), "registry.example.com/a/gate:V1");
        assert_eq!(named.at("sha256:00"), "registry.example.com/a/gate@sha256:00");
        assert_eq!(parse("[::1]:5000/gate").tagged(), "[::1]:5000/gate:0.1.0");
        assert_eq!(parse("[fe80::1]/a/b:1").tagged(), "[fe80::1]/a/b:1");
        assert_eq!(
            parse("r.example.com/a.b/c__d/e---f:1").tagged(),
            "r.example.com/a.b/c__d/e---f:1"
        );
    }

    #[test]
    fn what_is_not_a_reference_is_refused() {
        for (text, what) in [
            ("", "registry is missing"),
            ("gate", "registry is missing"),
            ("team/gate:1", "registry is missing"),
            ("oci://r.example.com/gate", "scheme"),
            ("r.example.com/gate@sha256:00", "digest"),
            ("r.example.com/", "parts of a name"),
            ("r.example.com/Gate", "parts of a name"),
            ("r.example.com/-gate", "parts of a name"),
            ("r.example.com/gate:", "tag"),
            ("r.example.com/gate:a/b", "tag"),
            ("r.example.com /gate", "no registry"),
            ("[::1/gate", "no registry"),
            ("[::1]:x/gate", "no registry"),
            ("r.example.com/team/", "parts of a name"),
            ("r.example.com/a//b", "parts of a name"),
            ("r.example.com/a..b", "parts of a name"),
            ("r.example.com/a___b", "parts of a name"),
        ] {
            let error = Reference::parse(text, "1").unwrap_err().to_string();
            assert!(error.contains(what), "{text}: {error}");
        }
    }
}
