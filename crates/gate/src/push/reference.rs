//! The name of an image in a registry.

use anyhow::{Context, Result, ensure};
use oci_client::Reference;

use super::VERSION;

/// Parses `REGISTRY/NAME[:TAG]`; the tag defaults to the version of the plugin.
pub fn parse(text: &str) -> Result<Reference> {
    let example = "registry.example.com/team/header-gate:1.0";
    let wrong = |what: &str| {
        format!("IMAGE `{text}`: {what}; expected REGISTRY/NAME[:TAG], such as {example}")
    };
    ensure!(!text.contains("://"), wrong("remove the scheme, only the manifests have one"));
    ensure!(!text.contains('@'), wrong("remove the digest, the push computes it"));
    let (registry, name) = text.split_once('/').unwrap_or(("", text));
    // Tools disagree about the registry of a reference that names none.
    let named = registry == "localhost" || registry.contains(['.', ':']);
    ensure!(named, wrong("the registry is missing"));
    let tag = if name.contains(':') { "" } else { &format!(":{VERSION}") };
    // The library lets a tag have letters of any script.
    let parsed = format!("{text}{tag}").parse().ok().filter(|_| text.is_ascii());
    let names = "names are lowercase letters and digits with single separators";
    parsed.with_context(|| wrong(&format!("not a valid reference ({names})")))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_valid_reference_is_kept() {
        for text in ["a.example.com/a/gate:V1", "a.example.com/a.b/c__d/e---f:1", "docker.io/a/b:1"]
        {
            assert_eq!(parse(text).unwrap().whole(), text);
        }
    }

    #[test]
    fn an_invalid_reference_is_refused() {
        for (part, texts) in [
            ("the registry is missing", " gate team/gate:1"),
            ("remove the scheme", "oci://r.example.com/gate"),
            ("remove the digest", "r.example.com/gate@sha256:00"),
            (
                "not a valid reference",
                "r.example.com/ r.example.com/Gate r.example.com/-gate r.example.com/gate: \
                 r.example.com/gate:a/b r.example.com/gate:\u{fc} [::1]/gate \
                 r.example.com/team/ r.example.com/a//b r.example.com/a..b r.example.com/a___b \
                 -r.example.com/gate",
            ),
        ] {
            for text in texts.split(' ') {
                let error = parse(text).unwrap_err().to_string();
                assert!(error.contains(part), "{text}: {error}");
            }
        }
    }
}
