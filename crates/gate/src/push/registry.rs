//! The push itself, by oci-client, with the credentials of docker.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use docker_credential::{CredentialRetrievalError, DockerCredential};
use http::HeaderValue;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};

use super::image::{Image, MANIFEST, digest};

/// The credentials that docker's configuration has for `registry`; anonymous if it has none.
pub fn credentials(registry: &str) -> Result<RegistryAuth> {
    let default = || Some(PathBuf::from(env::var_os("HOME")?).join(".docker"));
    let folder = env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(default);
    let file = folder.map(|folder| folder.join("config.json"));
    let Some(file) = file.filter(|file| file.exists()) else {
        return Ok(RegistryAuth::Anonymous);
    };
    // The key under which docker keeps those of Docker Hub.
    let key = if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry };
    let place = || format!("credentials for {registry} in {}", file.display());
    match docker_credential::get_credential(key) {
        Ok(DockerCredential::UsernamePassword(user, password)) => {
            Ok(RegistryAuth::Basic(user, password))
        }
        Ok(DockerCredential::IdentityToken(_)) => bail!(
            "{}: an identity token cannot be used; run docker login with a user name and a password",
            place()
        ),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(RegistryAuth::Anonymous),
        Err(CredentialRetrievalError::HelperFailure { helper, stdout, stderr }) => {
            // What every helper prints if it has none for this registry.
            if stdout.contains("credentials not found") {
                return Ok(RegistryAuth::Anonymous);
            }
            bail!("{}: {helper} failed: {}", place(), one_line(&format!("{stdout} {stderr}")))
        }
        Err(error) => Err(error).with_context(place),
    }
}

/// Pushes `image`, and checks that the registry reports its digest.
pub fn push(
    reference: &Reference,
    image: &Image,
    auth: &RegistryAuth,
    plain_http: bool,
) -> Result<()> {
    // Fails if there is a default already, which does as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::try_from(ClientConfig {
        protocol: if plain_http { ClientProtocol::Http } else { ClientProtocol::Https },
        connect_timeout: Some(Duration::from_secs(30)),
        read_timeout: Some(Duration::from_secs(120)),
        user_agent: concat!("header-gate/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Uploads the image under the tag; the digest that the registry reports for the tag.
    let upload = async {
        client.auth(reference, auth, RegistryOperation::Push).await?;
        for blob in &image.blobs {
            client.push_blob(reference, blob.clone(), &digest(blob)).await?;
        }
        let (manifest, kind) = (image.manifest.clone(), HeaderValue::from_static(MANIFEST));
        client.push_manifest_raw(reference, manifest, kind).await?;
        client.fetch_manifest_digest(reference, auth).await
    };
    let reported = runtime.block_on(upload).map_err(|error| match error {
        OciDistributionError::AuthenticationFailure(_)
        | OciDistributionError::UnauthorizedError { .. }
        | OciDistributionError::ServerError { code: 401 | 403, .. } => {
            let anonymous = matches!(auth, RegistryAuth::Anonymous);
            let with = if anonymous { "without credentials" } else { "with these credentials" };
            anyhow!("not authorized {with}; run docker login {}", reference.registry())
        }
        // The answer of a registry may have many lines.
        other => anyhow!(one_line(&format!("{:#}", anyhow!(other)))),
    })?;
    let digest = image.digest();
    ensure!(reported == digest, "the registry reports {reported}, the manifest is {digest}");
    Ok(())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
