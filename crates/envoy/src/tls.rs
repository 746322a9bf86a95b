//! TLS for [`Transport::Tls`](crate::client::Transport::Tls): rustls with ring.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// The configuration of a client that trusts the authorities in the PEM file `cacert`, or those that browsers
/// trust, and offers HTTP/2 and HTTP/1.1.
pub fn config(cacert: Option<&Path>) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = cacert {
        let about = || format!("cannot read certificates in PEM form from {}", file.display());
        for certificate in CertificateDer::pem_file_iter(file).with_context(about)? {
            roots.add(certificate.with_context(about)?).with_context(about)?;
        }
        ensure!(!roots.is_empty(), about());
    } else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
