//! `deploy/push.sh` against a real registry: it pushes the plugin and nothing else, with the same digest
//! each time, and fails with one error.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc;

use header_gate_cli::build::artifact;
use header_gate_cli::build::variant::Variant;
use header_gate_cli::push::{LABELS, VERSION, kustomization};
use header_gate_e2e::probe::{request, server};
use header_gate_e2e::registry::Registry;
use header_gate_e2e::{error, floor, module, policy, root, stdout};
use header_gate_host::gate;
use serde_json::{Value, json};
use tempfile::TempDir;

fn plugin() -> PathBuf {
    artifact(root(), &Variant::default()).unwrap()
}

/// A run of push.sh with a docker configuration and a file for the digest of its own.
struct Push {
    command: Command,
    folder: TempDir,
    pin: PathBuf,
}

impl Push {
    fn new(args: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let mut command = Command::new(root().join("deploy/push.sh"));
        command.current_dir(root()).env("DOCKER_CONFIG", folder.path());
        command.arg("--plain-http").args(args);
        let pin = folder.path().join("pin/digest.yaml");
        fs::create_dir(pin.parent().unwrap()).unwrap();
        Self { command, folder, pin }
    }

    fn plugin(mut self, file: &Path) -> Self {
        self.command.arg("--plugin").arg(file);
        self
    }

    fn docker_config(self, config: &Value) -> Self {
        fs::write(self.folder.path().join("config.json"), config.to_string()).unwrap();
        self
    }

    /// Installs the credential helper `test`; `script` finds the registry in `$server`.
    fn credential_helper(mut self, script: &str) -> Self {
        let helper = self.folder.path().join("docker-credential-test");
        fs::write(&helper, format!("#!/bin/sh\nserver=$(cat)\n{script}\n")).unwrap();
        fs::set_permissions(&helper, PermissionsExt::from_mode(0o755)).unwrap();
        let path = env::var("PATH").unwrap();
        self.command.env("PATH", format!("{}:{path}", self.folder.path().display()));
        self.docker_config(&json!({ "credsStore": "test" }))
    }

    fn run(&mut self) -> Output {
        self.command.arg("--pin").arg(&self.pin).output().unwrap()
    }

    /// The pushed image, REGISTRY/NAME@DIGEST, which is also in the file.
    #[track_caller]
    fn succeeds(mut self) -> String {
        let pushed = stdout(self.run()).trim_end().to_owned();
        let pinned = fs::read_to_string(&self.pin).unwrap();
        assert_eq!(pinned, kustomization(&pushed));
        pushed
    }

    #[track_caller]
    fn fails(mut self, part: &str) {
        let output = self.run();
        let error = error(&output);
        assert!(error.contains(part), "{error}");
        assert!(output.stdout.is_empty() && !self.pin.is_file(), "{error}");
    }
}

#[test]
fn the_image_is_what_gateways_fetch_and_has_the_same_digest_each_time() {
    let registry = Registry::start();
    let image = registry.image("gate");
    let first = Push::new(&[&registry.image("gate:a")]).plugin(&plugin()).succeeds();
    // A copy with another name, time and mode.
    let copy = TempDir::new().unwrap();
    let file = copy.path().join("other.wasm");
    fs::write(&file, fs::read(plugin()).unwrap()).unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(Push::new(&[&image]).plugin(&file).succeeds(), first);

    let (wasm, manifest) = registry.fetch(&first);
    assert_eq!(wasm, fs::read(plugin()).unwrap());
    assert_eq!(registry.fetch(&format!("{image}:{VERSION}")), (wasm, manifest.clone()));
    let config = registry.blob(&image, &manifest["config"]);
    let config: Value = serde_json::from_slice(&config).unwrap();
    let labels =
        LABELS.map(|(name, text)| (format!("org.opencontainers.image.{name}"), json!(text)));
    assert_eq!(config["config"]["Labels"], Value::from_iter(labels.clone()));
    let dockerfile = fs::read_to_string(root().join("Dockerfile")).unwrap();
    for (name, text) in &labels[..3] {
        assert!(dockerfile.contains(&format!("{name}={text}")), "{name}");
    }
    let package = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(package.contains(&format!("\nversion = \"{VERSION}\"\n")));
}

#[test]
fn the_artifact_is_what_gateways_fetch() {
    let registry = Registry::start();
    let push = |tag| Push::new(&["--artifact", &registry.image(tag)]).plugin(&plugin()).succeeds();
    let pushed = push("gate:a");
    assert_eq!(pushed, push("gate:b"));
    let (wasm, manifest) = registry.fetch(&pushed);
    assert_eq!(wasm, fs::read(plugin()).unwrap());
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 2);
}

#[test]
fn credentials_come_from_the_docker_configuration() {
    let registry = Registry::with_login();
    let image = registry.image("gate:1");
    let push = || Push::new(&[&image]).plugin(&plugin());
    let auths = |auth: Value| json!({ "auths": { registry.address(): auth } });
    push().fails("not authorized without credentials; run docker login 127.0.0.1:");
    assert!(registry.is_empty());
    // gate:wrong, gate:secret
    push()
        .docker_config(&auths(json!({ "auth": "Z2F0ZTp3cm9uZw==" })))
        .fails("not authorized with these");
    push()
        .docker_config(&auths(json!({ "identitytoken": "x" })))
        .fails("the identity token cannot be used; run docker login with a user name and a pass");
    push().docker_config(&json!("auths")).fails("config.json: Unable to read config");
    push()
        .credential_helper("echo broken >&2; exit 1")
        .fails("docker-credential-test failed: broken");
    push().credential_helper("echo credentials not found; exit 1").fails("not authorized without");
    let auth = push().docker_config(&auths(json!({ "auth": "Z2F0ZTpzZWNyZXQ=" }))).succeeds();
    let helper =
        r#"[ "${server%:*}" = 127.0.0.1 ] && echo '{ "Username": "gate", "Secret": "secret" }'"#;
    assert_eq!(push().credential_helper(helper).succeeds(), auth);
    registry.fetch(&auth);
}

/// A server of tokens for `gate:secret` and the identity token `a/secret+`, and the requests it got.
fn token_server() -> (String, mpsc::Receiver<String>) {
    let (sender, requests) = mpsc::channel();
    let port = server(move |_, mut stream| {
        let mut request = String::from_utf8(request(&mut stream).unwrap().join(&b'\n')).unwrap();
        let head = request.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
        stream.read_exact(&mut body).unwrap();
        request.push_str(str::from_utf8(&body).unwrap());
        let known = ["Basic Z2F0ZTpzZWNyZXQ=", "&refresh_token=a%2Fsecret%2B"];
        let known = known.iter().any(|k| request.contains(k));
        let status = if known { "200 OK" } else { "401 Unauthorized" };
        let json = r#"{"token":"t","access_token":"t"}"#;
        let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\n\r\n{json}");
        stream.get_mut().write_all(answer.as_bytes()).unwrap();
        sender.send(request).unwrap();
    });
    (format!("http://127.0.0.1:{port}/token"), requests)
}

#[test]
fn credentials_are_exchanged_for_tokens() {
    let (realm, requests) = token_server();
    let registry = Registry::with_tokens(&realm);
    let image = registry.image("gate:1");
    let push = |auth: Value| {
        let config = json!({ "auths": { registry.address(): auth } });
        Push::new(&[&image]).plugin(&plugin()).docker_config(&config)
    };
    push(json!({ "auth": "Z2F0ZTp3cm9uZw==" })).fails("not authorized with these credentials");
    push(json!({ "identitytoken": "b" })).fails("the identity token cannot be used");
    assert!(registry.is_empty());
    let pushed = push(json!({ "auth": "Z2F0ZTpzZWNyZXQ=" })).succeeds();
    assert_eq!(push(json!({ "identitytoken": "a/secret+" })).succeeds(), pushed);
    registry.fetch(&pushed);
    let expected = "grant_type=refresh_token&client_id=header-gate&service=a+registry\
                    &scope=repository%3Ateam%2Fgate%3Apull%2Cpush&refresh_token=a%2Fsecret%2B";
    assert!(requests.try_iter().any(|request| request.ends_with(expected)));
}

#[test]
fn the_digest_is_printed_even_if_it_cannot_be_written() {
    let registry = Registry::start();
    // The credentials are read after the check that the file can be written.
    let script = "rmdir $DOCKER_CONFIG/pin; echo credentials not found; exit 1";
    let push = Push::new(&[&registry.image("gate")]).plugin(&plugin());
    let output = push.credential_helper(script).run();
    let error = error(&output);
    assert!(error.contains("is pushed, but its digest is not written: cannot write"), "{error}");
    registry.fetch(String::from_utf8(output.stdout).unwrap().trim_end());
}

#[test]
fn a_plugin_is_pushed_from_outside_the_checkout() {
    let registry = Registry::start();
    let folder = TempDir::new().unwrap();
    fs::copy(plugin(), folder.path().join("my.wasm")).unwrap();
    fs::copy(root().join("policy.toml"), folder.path().join("policy.toml")).unwrap();
    let mut command = Command::new(root().join("deploy/push.sh"));
    command.current_dir(folder.path()).env("DOCKER_CONFIG", folder.path());
    command.args(["--plain-http", "--plugin", "my.wasm", &registry.image("gate")]);
    let pushed = stdout(command.output().unwrap());
    registry.fetch(pushed.trim_end());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_registry_is_asked_over_tls() {
    let (registry, folder) = (Registry::with_tls(), TempDir::new().unwrap());
    let push = |ca: &Path| {
        let mut command = Command::new(root().join("deploy/push.sh"));
        command.env("DOCKER_CONFIG", folder.path()).env("SSL_CERT_FILE", ca).arg("--plugin");
        command.arg(plugin()).arg("--pin").arg(folder.path().join("pin.yaml"));
        command.arg(registry.image("gate")).current_dir(root()).output().unwrap()
    };
    let error = error(&push(&folder.path().join("none.pem")));
    assert!(error.contains("certificate"), "{error}");
    assert!(registry.is_empty());
    assert!(stdout(push(&registry.ca())).starts_with(&registry.image("gate@sha256:")));
}

#[test]
fn a_policy_is_built_and_another_one_s_plugin_is_refused() {
    let registry = Registry::start();
    let (file, image) = (root().join("policies/api-key.toml"), registry.image("gate"));
    let args = ["--policy", file.to_str().unwrap(), &image];
    Push::new(&args).plugin(&plugin()).fails("contradicts ");
    assert!(registry.is_empty());
    let (wasm, _) = registry.fetch(&Push::new(&args).succeeds());
    assert_eq!(wasm, module(&Variant::default().with_policy(file)));
}

#[test]
fn the_module_without_a_policy_is_pushed_if_it_takes_the_policy_as_its_configuration() {
    let registry = Registry::start();
    let (config, image) = (artifact(root(), &Variant::config()).unwrap(), registry.image("gate"));
    for policy in ["policy.toml", "policies/api-key.toml"] {
        let (wasm, _) =
            registry.fetch(&Push::new(&["--policy", policy, &image]).plugin(&config).succeeds());
        assert_eq!(wasm, module(&Variant::config()));
    }
    // More clients than a configuration may have.
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("many.toml");
    let client = |n: usize| format!("[[client]]\nid = \"{n}\"\nvalue = \"{n:04}\"\n");
    let clients: String = (0..=1000).map(client).collect();
    fs::write(&file, format!("header = \"a\"\n{clients}[deny]\nstatus = 403\n")).unwrap();
    let args = ["--policy", file.to_str().unwrap(), &registry.image("many")];
    Push::new(&args).plugin(&config).fails("refuses its configuration");
}

#[test]
fn a_module_that_contradicts_the_policy_is_refused() {
    let changed = |from, to| floor(&[(from, to)]);
    let compare = "(i64.ne (i64.load (i32.const 8)) (i64.const 0x465757274))";
    let send = "(call $send";
    let default = policy(&Variant::default());
    gate::check(&changed(send, send), &default).unwrap();
    for (wasm, part) in [
        (b"\0asm\x01\0\0\0".to_vec(), "memory"),
        (wat::parse_file(root().join("benches/empty.wat")).unwrap(), "proxy_on_request_headers"),
        (changed(compare, "(i32.const 0)"), "value 1, altered"),
        (changed(compare, "(i32.const 1)"), "value 1: "),
        (changed("(i32.const 1))", "(i32.const 0))"), "passes"),
        (changed("\"allow\"", "\"alloy\""), "alloy"),
        (changed("rust version", "Rust version"), "body"),
        (changed("text/plain", "text/html "), "headers"),
        (changed("(i32.const 403)", "(i32.const 401)"), "401"),
        (
            changed("403) (i32.const 0) (i32.const 0)", "403) (i32.const 20) (i32.const 5)"),
            "details",
        ),
        (changed("(i32.const -1)", "(i32.const 0)"), "gRPC status 0"),
        (changed(send, "(unreachable) (call $send"), "unreachable"),
        (changed(send, "(loop (br 0)) (call $send"), "fuel"),
        (module(&Variant::baseline()), "trap"),
    ] {
        let error = format!("{:#}", gate::check(&wasm, &default).unwrap_err());
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn a_module_that_breaks_the_contract_is_pushed_only_on_request() {
    let registry = Registry::start();
    let (folder, image) = (TempDir::new().unwrap(), registry.image("gate"));
    let file = folder.path().join("my.wasm");
    for (wasm, part) in [
        (floor(&[("\"memory\") 1 1", "\"memory\") 1 2")]), "my.wasm breaks its contract: memory"),
        (module(&Variant::sdk()), "--no-contract pushes it nevertheless"),
    ] {
        fs::write(&file, &wasm).unwrap();
        Push::new(&[&image]).plugin(&file).fails(part);
        assert!(registry.is_empty());
    }
    let pushed = Push::new(&["--no-contract", &image]).plugin(&file).succeeds();
    assert_eq!(registry.fetch(&pushed).0, module(&Variant::sdk()));
    // The contract of a log build allows its log.
    fs::write(&file, module(&Variant::log())).unwrap();
    Push::new(&[&image]).plugin(&file).succeeds();
    // Its exports show which contract it has to keep.
    let nginx = artifact(root(), &Variant::nginx()).unwrap();
    Push::new(&[&image]).plugin(&nginx).succeeds();
    Push::new(&["--no-contract", &image]).fails("--plugin <FILE>");
}

#[test]
fn each_mistake_is_one_error() {
    let registry = Registry::start();
    let image = registry.image("gate:1");
    let push = |args: &[&str]| Push::new(args).plugin(&plugin());
    push(&[]).fails("required arguments were not provided: <IMAGE>");
    push(&[&image, "more"]).fails("unexpected argument 'more'");
    push(&["--quick", &image]).fails("unexpected argument '--quick'");
    push(&["team/gate"]).fails("the registry is missing");
    push(&["--policy", "none.toml", &image]).fails("none.toml: cannot be read");
    Push::new(&["--plugin", "none.wasm", &image]).fails("cannot read the plugin none.wasm");
    let policy = root().join("policy.toml");
    Push::new(&[&image]).plugin(&policy).fails("policy.toml is not a plugin");
    let strict = tempfile::NamedTempFile::new().unwrap();
    let text = format!("repeated = \"deny\"\n{}", fs::read_to_string(policy).unwrap());
    fs::write(&strict, text).unwrap();
    let args = ["--policy", strict.path().to_str().unwrap(), &image];
    push(&args).fails("`repeated` is not for a plugin");
    for (pin, part) in [
        ("no/folder/pin.yaml", "there is no folder no/folder"),
        ("/", "cannot write /: "),
        ("/proc/pin.yaml", "cannot write /proc/pin.yaml: "),
    ] {
        let mut push = push(&[&image]);
        push.pin = pin.into();
        push.fails(part);
    }
    assert!(registry.is_empty());
    // Nothing listens on port 1.
    push(&["127.0.0.1:1/gate:1"]).fails("cannot push 127.0.0.1:1/gate:1: ");
    push(&["--artifact", "127.0.0.1:1/gate:1"]).fails("cannot push 127.0.0.1:1/gate:1: ");
}
