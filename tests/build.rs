//! `build.sh` and `gate`: one error line for bad input, the same bytes from any folder, no stale artifact,
//! and a ledger that no variant outgrows.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use header_gate_cli::build::ledger::{Entry, FILE, Ledger};
use header_gate_cli::build::variant::Variant;
use header_gate_cli::build::{self, Builder, Options};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The `gate` binary that build.sh runs; compiled once, before anything is read from stderr.
fn gate(folder: &Path) -> Command {
    static GATE: LazyLock<PathBuf> = LazyLock::new(|| {
        let script = Path::new(ROOT).join("build.sh");
        let help = Command::new(script).arg("--help").output().unwrap();
        assert!(help.status.success(), "{}", String::from_utf8_lossy(&help.stderr));
        assert!(String::from_utf8_lossy(&help.stdout).contains("--policy <FILE>"));
        Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("debug/gate")
    });
    let mut gate = Command::new(&*GATE);
    gate.current_dir(folder).env_remove("CARGO_MANIFEST_DIR").env_remove("WASM_OPT");
    gate
}

/// Asserts that a command failed with one line that contains `expected`, and wrote no module.
#[track_caller]
fn assert_refused(folder: &Path, output: &Output, expected: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.starts_with("error: ") && stderr.contains(expected), "{expected}: {stderr}");
    let names = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.file_name());
    assert_eq!(names.filter(|name| name != "bad.toml").count(), 0);
}

#[test]
fn bad_input_is_one_error_line_and_writes_nothing() {
    let policy = |text: &str| format!("{text}values = [\"v\"]\n[deny]\nstatus = 403\n");
    let nothing = [("PATH", "/nowhere"), ("HEADER_GATE_CACHE", "/nowhere")];
    let install = |setting| [nothing[0], nothing[1], ("HEADER_GATE_INSTALL", setting)];
    for (bad, args, env, expected) in [
        (policy("header = \"h\"\ncolour = 1\n"), "--policy bad.toml", &[][..], "colour"),
        (policy("header = \"\"\n"), "--policy bad.toml", &[], "error: bad.toml: "),
        (policy("header = \"h"), "--policy bad.toml", &[], "error: bad.toml: "),
        (
            policy("header = \"h\"\nrepeated = \"deny\"\n"),
            "--policy bad.toml",
            &[],
            "bad.toml: `repeated` is not for a plugin",
        ),
        (String::new(), "--policy nowhere.toml --out x.wasm", &[], "nowhere.toml: "),
        (String::new(), "--policy", &[], "'--policy <FILE>'"),
        (String::new(), "--optimise", &[], "'--optimise'"),
        (String::new(), "x.wasm", &[], "'x.wasm'"),
        (String::new(), "--features log,debug", &[], "unknown feature `debug`"),
        (String::new(), "--features native,log", &[], "`native` goes with no other feature"),
        (String::new(), "--features sdk,nginx", &[], "leave out `nginx`"),
        (String::new(), "--features native --bless", &[], "error: --bless: "),
        (String::new(), "--target x86_64-unknown-linux-gnu", &[], "error: --target is for"),
        (
            policy("header = \"h\"\nremove = true\n"),
            "--features sdk --policy bad.toml",
            &[],
            "bad.toml: `remove` is not for the SDK",
        ),
        (String::new(), "--all --out x.wasm", &[], "'--all' cannot be used with '--out"),
        (String::new(), "--out nowhere/x.wasm", &[], "--out nowhere/x.wasm"),
        (String::new(), "--out x.wasm", &[("WASM_OPT", "no/opt")], "WASM_OPT=no/opt"),
        (String::new(), "--out x.wasm", &[("WASM_OPT", "true")], "WASM_OPT=true"),
        (String::new(), "--out x.wasm", &install("never"), "HEADER_GATE_INSTALL=never"),
        (String::new(), "--out x.wasm", &install("no"), "expected `never`"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("bad.toml"), bad).unwrap();
        let mut gate = gate(folder.path());
        gate.env("CARGO_MANIFEST_DIR", ROOT).envs(env.iter().copied());
        let output = gate.arg("build").args(args.split(' ')).output().unwrap();
        assert_refused(folder.path(), &output, expected);
    }
}

#[test]
fn surprises_are_warnings_and_with_strict_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let text = "header = \"x_h\"\nvalues = [\"v\"]\n[deny]\nstatus = 401\n";
    fs::write(folder.path().join("bad.toml"), text).unwrap();
    let build = |args: &str| {
        let mut gate = gate(folder.path());
        gate.env("CARGO_MANIFEST_DIR", ROOT).args(["build", "--policy", "bad.toml"]);
        gate.args(args.split(' ')).output().unwrap()
    };
    let refused = build("--strict --out x.wasm");
    assert_refused(folder.path(), &refused, "error: bad.toml: `header` contains an underscore, ");
    assert_refused(folder.path(), &refused, "; `deny.status` is 401 without `www-authenticate`; ");
    let built = build("--out x.wasm");
    let stderr = String::from_utf8(built.stderr).unwrap();
    assert!(built.status.success() && folder.path().join("x.wasm").is_file(), "{stderr}");
    let warnings: Vec<_> = stderr.lines().filter(|line| line.contains("warning: ")).collect();
    assert!(
        warnings.len() == 2 && warnings[0].starts_with("warning: bad.toml: `header` "),
        "{stderr}"
    );
    assert!(warnings[1].starts_with("warning: bad.toml: `deny.status` is 401 "), "{stderr}");
}

#[test]
fn an_old_cargo_is_told_which_rust_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let cargo = folder.path().join("cargo");
    let needed = env!("CARGO_PKG_RUST_VERSION");
    let refused =
        format!("error: Rust {needed} or newer is needed, and this is cargo 1.63.0 (a b)");
    for (version, expected) in [
        ("1.63.0 (a b)".to_owned(), &*refused),
        (format!("{needed}.0 (a b)"), "it runs"),
        ("1.1000.0-nightly".to_owned(), "it runs"),
    ] {
        let script = format!(
            "#!/bin/sh\nif [ $1 = --version ]; then echo 'cargo {version}'; else echo it runs >&2; fi\n"
        );
        fs::write(&cargo, script).unwrap();
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", folder.path().display(), env::var("PATH").unwrap());
        let mut script = Command::new(Path::new(ROOT).join("build.sh"));
        let output = script.env("PATH", path).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let last = stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with(expected), "{version}: {stderr}");
        assert_eq!(output.status.success(), expected == "it runs");
    }
}

#[test]
fn verify_needs_no_checkout_and_build_says_that_it_does() {
    let plugin = build::artifact(Path::new(ROOT), &Variant::default()).unwrap();
    let (folder, plugin) = (tempfile::tempdir().unwrap(), plugin.to_str().unwrap());
    let run = |args: &[&str]| gate(folder.path()).args(args).output().unwrap();
    let output = run(&["verify", plugin, "--contract", "abi", "--json"]);
    let json = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && json.contains("\"violations\": []"), "{json}");
    assert_refused(folder.path(), &run(&["verify", plugin, "--contract", "x"]), "'--contract");
    assert_refused(folder.path(), &run(&["verify", "/dev/null"]), "not a WebAssembly module");
    assert_refused(folder.path(), &run(&["build"]), "not in a checkout");
}

#[test]
fn flags_of_the_environment_do_not_change_the_module() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(Path::new(ROOT).join("policy.toml"), folder.path().join("mine.toml")).unwrap();
    let mut script = Command::new(Path::new(ROOT).join("build.sh"));
    script.args(["--policy", "mine.toml", "--out", "mine.wasm"]).current_dir(&folder);
    script.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3").env("CARGO_PROFILE_RELEASE_STRIP", "false");
    let output = script.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let plugin = build::artifact(Path::new(ROOT), &Variant::default()).unwrap();
    assert_eq!(fs::read(folder.path().join("mine.wasm")).unwrap(), fs::read(plugin).unwrap());
}

/// Builds `variant` of this checkout with the policy in `text`.
fn build_policy(variant: Variant, text: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("gate.toml");
    fs::write(&policy, text).unwrap();
    fs::read(build::artifact(Path::new(ROOT), &variant.with_policy(policy)).unwrap()).unwrap()
}

/// Building verifies that all of it fits into the one page of memory.
#[test]
fn a_policy_at_every_limit_makes_a_verified_plugin() {
    let values: Vec<_> = (0..256).map(|i| format!("{i:x>16}")).collect();
    let (name, body) = ("x".repeat(256), "x".repeat(16 * 1024));
    let headers: Vec<_> = (0..584).map(|i| [format!("{i:03}"), "y".to_owned()]).collect();
    let methods: Vec<_> = (0..64).map(|i| format!("{i:A>32}")).collect();
    let paths: Vec<_> = (0..64).map(|i| format!("/{i:x>61}/*")).collect();
    let text = format!(
        "header = {name:?}\nvalues = {values:?}\nremove = true\ncount = true\n[except]\n\
         preflight = true\nmethods = {methods:?}\npaths = {paths:?}\n[deny]\nstatus = 403\n\
         headers = {headers:?}\nbody = {body:?}\ndetails = {name:?}\nmissing_details = {name:?}\n"
    );
    for variant in [Variant::default(), Variant::log()] {
        assert!(build_policy(variant, &text).len() > 16 * 1024);
    }
}

/// A second checkout with a target folder of its own, which later runs reuse.
fn checkout() -> MutexGuard<'static, PathBuf> {
    static CHECKOUT: LazyLock<(Mutex<PathBuf>, File)> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("a second checkout");
        fs::create_dir_all(&folder).unwrap();
        let lock = File::create(folder.with_extension("lock")).unwrap();
        lock.lock().unwrap();
        let mut git = Command::new("git");
        git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let files = String::from_utf8(git.current_dir(ROOT).output().unwrap().stdout).unwrap();
        for file in files.split_terminator('\0') {
            // A deleted file is listed as well.
            let Ok(content) = fs::read(Path::new(ROOT).join(file)) else { continue };
            let to = folder.join(file);
            if fs::read(&to).is_ok_and(|old| old == content) {
                continue;
            }
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, content).unwrap();
        }
        (Mutex::new(folder), lock)
    });
    CHECKOUT.0.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn two_folders_give_the_same_bytes() {
    let checkout = checkout();
    for variant in [Variant::default(), Variant::log()] {
        let here = fs::read(build::artifact(Path::new(ROOT), &variant).unwrap()).unwrap();
        let there = fs::read(build::artifact(&checkout, &variant).unwrap()).unwrap();
        assert!(here == there, "{} differs", variant.name());
        let text = String::from_utf8_lossy(&here);
        for folder in [ROOT, checkout.to_str().unwrap(), env!("CARGO")] {
            assert!(!text.contains(folder), "{} names {folder}", variant.name());
        }
    }
}

/// The place of an artifact in the cache depends on everything that it is made of.
#[test]
fn a_changed_source_or_policy_is_built_again() {
    let checkout = checkout();
    let builder = Builder::new(&checkout).unwrap();
    let place = || builder.cached(&Variant::default()).unwrap();
    let before = place();
    for file in [
        ".cargo/config.toml",
        "Cargo.lock",
        "Cargo.toml",
        "baseline/src/lib.rs",
        "build.rs",
        "crates/decision/src/rule.rs",
        "crates/gate/src/build/wasm_opt.rs",
        "crates/policy/src/lib.rs",
        "policy.toml",
        "src/abi.rs",
    ] {
        let text = fs::read_to_string(checkout.join(file)).unwrap();
        fs::write(checkout.join(file), format!("{text}\n")).unwrap();
        let after = place();
        fs::write(checkout.join(file), text).unwrap();
        assert_ne!(before, after, "{file}");
    }
    assert_eq!(before, place());
}

#[test]
fn a_variant_that_outgrew_its_entry_is_not_written() {
    let checkout = checkout();
    let (file, plugin) = (checkout.join(FILE), checkout.join("plugin.wasm"));
    let run = |bless| build::run_in(&checkout, &Options { bless, ..Options::default() });
    let entry = || Ledger::read(&file).unwrap().bytes("default");
    let ours = Builder::new(&checkout).unwrap().toolchain().unwrap();
    let set = |bytes, toolchain: &str| {
        let entry = Entry { bytes, fuel: [0; 3], crossings: [0; 3] };
        let variant = BTreeMap::from([("default".to_owned(), entry)]);
        let ledger = Ledger { toolchain: Some(toolchain.to_owned()), variant };
        ledger.write(&file).unwrap();
    };
    let bytes = fs::metadata(build::artifact(&checkout, &Variant::default()).unwrap()).unwrap();
    let bytes = bytes.len();

    set(bytes - 1, &ours);
    fs::write(&plugin, "an older plugin").unwrap();
    let error = run(false).unwrap_err().to_string();
    let expected = format!("default grew: ledger.toml has {} bytes, now {bytes}", bytes - 1);
    assert!(error.starts_with(&expected) && error.contains("--bless"), "{error}");
    assert_eq!(fs::read(&plugin).unwrap(), b"an older plugin");
    run(true).unwrap();
    assert_eq!((entry(), fs::metadata(&plugin).unwrap().len()), (Some(bytes), bytes));

    // A smaller module is not an error, and changes the ledger only if blessed.
    set(bytes + 1, &ours);
    run(false).unwrap();
    assert_eq!(entry(), Some(bytes + 1));

    // Sizes from other tools are reported, but neither fail nor mix with these.
    set(bytes - 1, "another");
    run(false).unwrap();
    let error = run(true).unwrap_err().to_string();
    assert!(error.contains("was made with another, this is rustc"), "{error}");
}
