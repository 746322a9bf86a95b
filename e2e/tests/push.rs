//! `deploy/push.sh`: what it pushes is the plugin and nothing else, the same each time; what it cannot
//! do it says in one error, and leaves nothing behind.

use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use header_gate_cli::build::artifact;
use header_gate_cli::build::variant::Variant;
use header_gate_cli::push::pin;
use header_gate_e2e::registry::{self, Registry};
use header_gate_e2e::{module, root};
use serde_json::Value;
use tempfile::TempDir;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const WASM_CONFIG: &str = "application/vnd.module.wasm.config.v1+json";
const WASM_CONTENT: &str = "application/vnd.module.wasm.content.layer.v1+wasm";

fn plugin() -> PathBuf {
    artifact(root(), &Variant::default()).unwrap()
}

/// A run of push.sh with image storage, temporary files and a file for the digest of its own.
struct Push {
    command: Command,
    folder: TempDir,
}

impl Push {
    fn new(tool: &str) -> Self {
        registry::install();
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("tmp")).unwrap();
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = \"{0}/graph\"\nrunroot = \"{0}/run\"\n",
            folder.path().display()
        );
        fs::write(path("storage.conf"), storage).unwrap();
        let mut command = Command::new(root().join("deploy/push.sh"));
        command.env("HEADER_GATE_TOOL", tool).env("BUILDAH_ISOLATION", "chroot");
        command.env("CONTAINERS_STORAGE_CONF", path("storage.conf")).env("TMPDIR", path("tmp"));
        command.arg("--plain-http").arg("--pin").arg(path("pin.yaml"));
        Self { command, folder }
    }

    fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    fn plugin(mut self, file: &Path) -> Self {
        self.command.arg("--plugin").arg(file);
        self
    }

    /// A program that is found before any other of its name.
    fn program(mut self, name: &str, script: &str) -> Self {
        let file = self.folder.path().join("bin").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        let path = env::var("PATH").unwrap();
        self.command.env("PATH", format!("{}:{path}", file.parent().unwrap().display()));
        self
    }

    fn run(&mut self) -> Output {
        let output = self.command.output().unwrap();
        let left: Vec<_> = fs::read_dir(self.folder.path().join("tmp")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        output
    }

    /// What it pushed, `REGISTRY/NAME@DIGEST`, which is also what it pinned.
    #[track_caller]
    fn succeeds(mut self) -> String {
        let output = self.run();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let pushed = String::from_utf8(output.stdout).unwrap().trim_end().to_owned();
        let pinned = fs::read_to_string(self.folder.path().join("pin.yaml")).unwrap();
        assert_eq!(pinned, pin::kustomization(&pushed));
        pushed
    }

    #[track_caller]
    fn fails(mut self, part: &str) {
        let output = self.run();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{stderr}");
        let errors: Vec<_> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!((errors.len(), stderr.lines().last()), (1, errors.first().copied()), "{stderr}");
        assert!(errors[0].contains(part), "{stderr}");
        assert!(!self.folder.path().join("pin.yaml").exists(), "pinned: {stderr}");
    }
}

/// Everything that PATH has, but these programs.
fn path_without(programs: &[&str], into: &Path) {
    for folder in env::split_paths(&env::var_os("PATH").unwrap()) {
        for program in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
            let name = program.file_name();
            if !programs.iter().any(|without| name == *without) {
                // One of that name may be there already: the first on PATH counts.
                let _ = symlink(program.path(), into.join(name));
            }
        }
    }
}

/// A pulled image.
struct Image {
    folder: TempDir,
    manifest: Value,
}

impl Image {
    fn pull(registry: &Registry, name: &str) -> Self {
        let folder = TempDir::new().unwrap();
        registry.pull(name, folder.path());
        let manifest = fs::read(folder.path().join("manifest.json")).unwrap();
        Self { folder, manifest: serde_json::from_slice(&manifest).unwrap() }
    }

    fn media_types(&self) -> Vec<&str> {
        let layers = self.manifest["layers"].as_array().unwrap();
        layers.iter().map(|layer| layer["mediaType"].as_str().unwrap()).collect()
    }

    fn file(&self, descriptor: &str) -> PathBuf {
        let digest = self.manifest.pointer(descriptor).unwrap()["digest"].as_str().unwrap();
        self.folder.path().join(digest.strip_prefix("sha256:").unwrap())
    }

    fn labels(&self) -> Value {
        let config = fs::read(self.file("/config")).unwrap();
        serde_json::from_slice::<Value>(&config).unwrap()["config"]["Labels"].take()
    }
}

fn tar(options: &str, layer: &Path) -> Vec<u8> {
    let output = Command::new("tar").arg(options).arg(layer).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn the_image_is_one_layer_with_the_plugin_and_the_same_each_time() {
    let registry = Registry::start();
    let first =
        Push::new("buildah").plugin(&plugin()).args(&[&registry.image("gate:a")]).succeeds();
    // A file written at another time, by someone whose files are not for everybody.
    let copy = TempDir::new().unwrap();
    let file = copy.path().join("other.wasm");
    fs::write(&file, fs::read(plugin()).unwrap()).unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let second = Push::new("buildah").plugin(&file).args(&[&registry.image("gate")]).succeeds();
    assert_eq!(first, second);

    let image = Image::pull(&registry, &first);
    assert_eq!(image.media_types(), [LAYER]);
    assert_eq!(tar("-tzf", &image.file("/layers/0")), b"plugin.wasm\n");
    assert_eq!(tar("-xOzf", &image.file("/layers/0")), fs::read(plugin()).unwrap());
    for (label, value) in [
        ("title", env!("CARGO_PKG_NAME")),
        ("description", env!("CARGO_PKG_DESCRIPTION")),
        ("licenses", env!("CARGO_PKG_LICENSE")),
        ("version", env!("CARGO_PKG_VERSION")),
    ] {
        assert_eq!(image.labels()[format!("org.opencontainers.image.{label}")], value);
    }
    // Without a tag it has the plugin's version for one.
    let named = registry.image(concat!("gate:", env!("CARGO_PKG_VERSION")));
    assert_eq!(Image::pull(&registry, &named).manifest, image.manifest);
}

#[test]
fn another_plugin_is_another_layer() {
    let registry = Registry::start();
    let push = |variant| {
        let file = artifact(root(), &variant).unwrap();
        let name = Push::new("buildah").plugin(&file).args(&[&registry.image("gate")]).succeeds();
        Image::pull(&registry, &name).manifest["layers"][0].clone()
    };
    assert_ne!(push(Variant::default()), push(Variant::log()));
}

#[test]
fn the_artifact_is_what_istio_s_fetcher_reads() {
    let registry = Registry::start();
    let push = |tag| {
        let push = Push::new("skopeo").plugin(&plugin());
        push.args(&["--artifact", &registry.image(tag)]).succeeds()
    };
    let pushed = push("gate:a");
    assert_eq!(pushed, push("gate:b"));
    let artifact = Image::pull(&registry, &pushed);
    // It refuses any other number of layers than two.
    assert_eq!(artifact.media_types(), [WASM_CONFIG, WASM_CONTENT]);
    assert_eq!(artifact.manifest["config"]["mediaType"], WASM_CONFIG);
    assert_eq!(fs::read(artifact.file("/layers/1")).unwrap(), fs::read(plugin()).unwrap());
}

#[test]
fn the_build_context_is_the_plugin_alone() {
    registry::install();
    let push = Push::new("buildah");
    let context = push.folder.path().join("context");
    fs::create_dir_all(context.join("target")).unwrap();
    for file in ["Cargo.toml", "plugin.wasm", ".env", "target/plugin.wasm", "plugin-log.wasm"] {
        fs::write(context.join(file), file).unwrap();
    }
    fs::copy(root().join(".dockerignore"), context.join(".dockerignore")).unwrap();
    fs::write(push.folder.path().join("Dockerfile"), "FROM scratch\nCOPY . /\n").unwrap();
    let buildah = |args: &[&str]| {
        let mut command = Command::new("buildah");
        command.env("CONTAINERS_STORAGE_CONF", push.folder.path().join("storage.conf"));
        let output = command.current_dir(push.folder.path()).args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    buildah(&["build", "--isolation", "chroot", "-f", "Dockerfile", "-t", "all", "context"]);
    buildah(&["push", "all", "dir:image"]);
    let folder = push.folder.path().join("image");
    let manifest: Value =
        serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let digest = manifest["layers"][0]["digest"].as_str().unwrap();
    let layer = folder.join(digest.strip_prefix("sha256:").unwrap());
    assert_eq!(tar("-tf", &layer), b"plugin.wasm\n");
}

/// Docker needs a daemon, which nothing here has: a script in its place says what docker 28 does.
fn docker(push: Push, at_the_push: &str) -> Push {
    let script = format!(
        r#"case "$1" in
version) echo 28.2.2 ;;
build) [ "$BUILDX_NO_DEFAULT_ATTESTATIONS$SOURCE_DATE_EPOCH" = 10 ] || exit 1
  for last; do :; done; cmp "$last/plugin.wasm" {} ;;
push) echo "The push refers to repository [${{2%:*}}]"; {at_the_push} ;;
*) exit 1 ;;
esac"#,
        plugin().display(),
    );
    push.plugin(&plugin()).program("docker", &script)
}

#[test]
fn docker_is_asked_for_one_manifest_and_its_digest() {
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let said = format!("echo '5f70bf18a086: Pushed'; echo '1: digest: {digest} size: 527'");
    // Docker Hub's name, as any other, is pinned as it was given.
    for image in ["r.example.com/gate", "docker.io/team/gate"] {
        let push = docker(Push::new("docker"), &said).args(&[&format!("{image}:1")]);
        assert_eq!(push.succeeds(), format!("{image}@{digest}"));
    }
    for said in [":", "echo '1: digest: sha256:00 size: 527'"] {
        let push = docker(Push::new("docker"), said).args(&["r.example.com/gate:1"]);
        push.fails("docker does not tell the image's digest");
    }
}

#[test]
fn what_was_pushed_is_told_though_it_cannot_be_pinned() {
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let mut push = Push::new("docker");
    let gone = push.folder.path().join("gone");
    fs::create_dir(&gone).unwrap();
    push = docker(push, &format!("rmdir {}; echo '1: digest: {digest} size: 1'", gone.display()));
    push.command.arg("--pin").arg(gone.join("pin.yaml")).arg("r.example.com/gate:1");
    let output = push.run();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(output.stdout, format!("r.example.com/gate@{digest}\n").as_bytes());
    assert!(
        stderr.contains("error: the image is pushed, but not pinned: cannot write"),
        "{stderr}"
    );
}

/// The floor with `from` replaced, which has to be there.
fn floor(from: &str, to: &str) -> Vec<u8> {
    let text = fs::read_to_string(root().join("benches/floor.wat")).unwrap();
    assert!(text.contains(from), "{from}");
    wat::parse_str(text.replacen(from, to, 1)).unwrap()
}

#[test]
fn what_is_not_the_policy_s_gate_is_not_pushed() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("other.wasm");
    let compare = "(i64.eq (i64.load (i32.const 8)) (i64.const 0x465757274))";
    let send = "(call $send";
    for (wasm, part) in [
        (b"\0asm\x01\0\0\0".to_vec(), "it does not start: no memory is exported"),
        (
            wat::parse_file(root().join("benches/empty.wat")).unwrap(),
            "value 1: proxy_on_request_headers is not exported",
        ),
        (floor(compare, "(i32.const 1)"), "value 1, altered: is not denied"),
        (floor(compare, "(i32.const 0)"), "value 1: does not pass"),
        (floor("(i32.le_u)", "(i32.gt_u)"), "passes as well"),
        (floor("\"allow\"", "\"alloy\""), "value 1: it asks for \"alloy\", not for \"allow\""),
        (floor("rust version", "Rust version"), "is denied with another body"),
        (floor("text/plain", "text/html "), "is denied with other headers"),
        (floor("(i32.const 403)", "(i32.const 401)"), "is denied with 401, not 403"),
        (floor(send, "(unreachable) (call $send"), "altered: wasm trap: wasm `unreachable`"),
        (floor(send, "(loop (br 0)) (call $send"), "wasm trap: all fuel consumed"),
        (module(&Variant::baseline()), "value 1, altered: wasm trap"),
    ] {
        fs::write(&file, wasm).unwrap();
        // A tool that pushes nothing.
        let push = Push::new("docker").program("docker", r#"[ "$1" = version ]"#);
        push.plugin(&file).args(&["r.example.com/gate:1"]).fails(part);
    }
    let push = Push::new("docker").program("docker", r#"[ "$1" = version ]"#);
    push.plugin(&file).args(&["r.example.com/gate:1"]).fails("other.wasm is not the gate that ");
}

#[test]
fn another_policy_s_gate_is_built_and_pushed_under_its_own_name_only() {
    let registry = Registry::start();
    let policy = root().join("policies/api-key.toml");
    let policy = policy.to_str().unwrap();
    let wrong = Push::new("buildah").plugin(&plugin()).args(&["--policy", policy]);
    wrong.args(&[&registry.image("gate")]).fails("value 1: it asks for \"allow\"");
    assert!(registry.is_empty());
    let named =
        Push::new("buildah").args(&["--policy", policy, &registry.image("gate")]).succeeds();
    let image = Image::pull(&registry, &named);
    let variant = Variant::default().with_policy(policy);
    assert_eq!(tar("-xOzf", &image.file("/layers/0")), module(&variant));
}

/// No package registry has oras: a script in its place takes the layout as `oras cp` does.
#[test]
fn oras_is_preferred_for_artifacts() {
    let script = r#"[ "$1 $2 $3 $5" = "cp --from-oci-layout --to-plain-http r.example.com/gate:1" ] || exit 1
layout=${4%@*} digest=${4#*@sha256:}; cd "$layout/blobs/sha256" && echo "$digest  $digest" | sha256sum --check"#;
    let push = Push::new("").plugin(&plugin()).program("oras", script);
    let pushed = push.args(&["--artifact", "r.example.com/gate:1"]).succeeds();
    assert!(pushed.starts_with("r.example.com/gate@sha256:"), "{pushed}");
}

#[test]
fn what_is_wrong_is_told_in_one_error() {
    let registry = Registry::start();
    let image = registry.image("gate:1");
    let push = |tool| Push::new(tool).plugin(&plugin());
    push("").fails("IMAGE is missing");
    push("").args(&["team/gate"]).fails("the registry is missing");
    push("").args(&[&image, "more"]).fails("unexpected argument \"more\"");
    push("").args(&["--quick", &image]).fails("invalid option '--quick'");
    push("kaniko").args(&[&image]).fails("HEADER_GATE_TOOL=kaniko cannot push an image");
    push("buildah").args(&["--artifact", &image]).fails("one of oras, skopeo can");
    Push::new("buildah")
        .args(&["--plugin", "none.wasm", &image])
        .fails("cannot read the plugin none.wasm");
    let no_plugin = Push::new("buildah").plugin(&root().join("policy.toml"));
    no_plugin.args(&[&image]).fails("policy.toml is not a plugin");
    push("buildah").args(&["--pin", "no/folder/pin.yaml", &image]).fails("there is no such folder");
    push("buildah").args(&["--pin", "deploy", &image]).fails("cannot write deploy: it is a folder");
    push("buildah")
        .args(&["--pin", "/proc/pin.yaml", &image])
        .fails("cannot write /proc/pin.yaml: ");
    push("buildah").args(&["--policy", "none.toml", &image]).fails("none.toml: cannot be read");
    let dead = push("docker").program("docker", "echo 'no daemon' >&2; exit 1");
    dead.args(&[&image]).fails("which does not work: docker version: no daemon");
    assert!(registry.is_empty());
    // Nobody listens on port 1.
    push("buildah").args(&["127.0.0.1:1/gate:1"]).fails("cannot push to 127.0.0.1:1/gate:1");
    push("skopeo")
        .args(&["--artifact", "127.0.0.1:1/gate:1"])
        .fails("cannot push to 127.0.0.1:1/gate:1");
}

#[test]
fn without_a_tool_it_says_which_ones_would_do() {
    let programs = TempDir::new().unwrap();
    path_without(&["docker", "podman", "buildah", "oras", "skopeo"], programs.path());
    for (option, names) in [
        ("", "an image: install one of docker, podman, buildah"),
        ("--artifact", "an artifact: install one of oras, skopeo"),
    ] {
        let mut push = Push::new("").plugin(&plugin()).args(&["r.example.com/gate:1"]);
        push.command.args((!option.is_empty()).then_some(option)).env("PATH", programs.path());
        push.fails(&format!("nothing here pushes {names}"));
    }
}
