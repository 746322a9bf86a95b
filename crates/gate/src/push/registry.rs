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
use reqwest::Url;
use serde_json::Value;

use super::image::{Image, MANIFEST, digest};

const TIMEOUT: Duration = Duration::from_secs(120);
const USER_AGENT: &str = concat!("header-gate/", env!("CARGO_PKG_VERSION"));

/// The credentials that docker's configuration has for `registry`, if any.
pub fn credentials(registry: &str) -> Result<Option<DockerCredential>> {
    let default = || Some(PathBuf::from(env::var_os("HOME")?).join(".docker"));
    let folder = env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(default);
    let file = folder.map(|folder| folder.join("config.json"));
    let Some(file) = file.filter(|file| file.exists()) else {
        return Ok(None);
    };
    // The key under which docker keeps those of Docker Hub.
    let key = if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry };
    let place = || format!("credentials for {registry} in {}", file.display());
    match docker_credential::get_credential(key) {
        Ok(credential) => Ok(Some(credential)),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(None),
        Err(CredentialRetrievalError::HelperFailure { helper, stdout, stderr }) => {
            // What every helper prints if it has none for this registry.
            if stdout.contains("credentials not found") {
                return Ok(None);
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
    credential: Option<DockerCredential>,
    plain_http: bool,
) -> Result<()> {
    // Fails if there is a default already, which does as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::try_from(ClientConfig {
        protocol: if plain_http { ClientProtocol::Http } else { ClientProtocol::Https },
        connect_timeout: Some(Duration::from_secs(30)),
        read_timeout: Some(TIMEOUT),
        user_agent: USER_AGENT,
        ..ClientConfig::default()
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let auth = match credential {
        None => RegistryAuth::Anonymous,
        Some(DockerCredential::UsernamePassword(user, password)) => {
            RegistryAuth::Basic(user, password)
        }
        Some(DockerCredential::IdentityToken(token)) => {
            let scheme = if plain_http { "http" } else { "https" };
            let token = runtime.block_on(access_token(reference, scheme, &token));
            RegistryAuth::Bearer(token.context(
                "the identity token cannot be used; run docker login with a user name and a password",
            )?)
        }
    };
    // Uploads the image under the tag; the digest that the registry reports for the tag.
    let upload = async {
        client.auth(reference, &auth, RegistryOperation::Push).await?;
        for blob in &image.blobs {
            client.push_blob(reference, blob.clone(), &digest(blob)).await?;
        }
        let (manifest, kind) = (image.manifest.clone(), HeaderValue::from_static(MANIFEST));
        client.push_manifest_raw(reference, manifest, kind).await?;
        client.fetch_manifest_digest(reference, &auth).await
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

/// Exchanges an identity token (a refresh token of OAuth 2) for an access token, as docker does.
async fn access_token(reference: &Reference, scheme: &str, identity: &str) -> Result<String> {
    let client = reqwest::Client::builder().user_agent(USER_AGENT).timeout(TIMEOUT).build()?;
    let ping = format!("{scheme}://{}/v2/", reference.resolve_registry());
    let answer = client.get(ping).send().await?;
    let challenge = answer.headers().get("www-authenticate").and_then(|value| value.to_str().ok());
    let parameter = |name: &str| {
        let (_, rest) = challenge?.split_once(&format!("{name}=\""))?;
        rest.split('"').next()
    };
    let realm = parameter("realm").filter(|_| challenge.is_some_and(|c| c.starts_with("Bearer ")));
    let realm = realm.context("the registry does not take tokens")?;
    let scope = format!("repository:{}:pull,push", reference.repository());
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "header-gate"),
        ("service", parameter("service").unwrap_or_default()),
        ("scope", &scope),
        ("refresh_token", identity),
    ];
    // A query has the encoding of a form.
    let form = Url::parse_with_params("form:", form)?.query().unwrap_or_default().to_owned();
    let request = client.post(realm).header("content-type", "application/x-www-form-urlencoded");
    let answer = request.body(form).send().await?;
    ensure!(answer.status().is_success(), "{realm} answers {}", answer.status());
    let answer: Value = serde_json::from_slice(&answer.bytes().await?)?;
    answer["access_token"].as_str().map(str::to_owned).context("the answer holds no access token")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
