//! `build.sh` and `gate`: one error line for bad input, the same bytes from any folder, no stale artifact,
//! and a ledger that no variant outgrows.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use header_gate_cli::build::ledger::{FILE, Ledger};
use header_gate_cli::build::variant::Variant;
use header_gate_cli::build::{self, Options};
use header_gate_contract::inspect;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The `gate` binary that build.sh runs; compiled once, before anything is read from stderr.
fn gate() -> Command {
    static GATE: LazyLock<PathBuf> = LazyLock::new(|| {
        let script = Path::new(ROOT).join("build.sh");
        let help = Command::new(script).arg("--help").output().unwrap();
        assert!(help.status.success(), "{}", String::from_utf8_lossy(&help.stderr));
        assert!(String::from_utf8_lossy(&help.stdout).contains("--policy <FILE>"));
        Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("debug/gate")
    });
    Command::new(&*GATE)
}

/// Runs build.sh in `folder`.
fn build_sh(folder: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    gate();
    let mut script = Command::new(Path::new(ROOT).join("build.sh"));
    script.args(args).envs(env.iter().copied()).current_dir(folder).output().unwrap()
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
    for (bad, args, env, expected) in [
        (policy("header = \"h\"\ncolour = 1\n"), &["--policy", "bad.toml"][..], &[][..], "colour"),
        (policy("header = \"\"\n"), &["--policy", "bad.toml"], &[], "error: bad.toml: "),
        (policy("header = \"h"), &["--policy", "bad.toml"], &[], "error: bad.toml: "),
        (String::new(), &["--policy", "nowhere.toml", "--out", "x.wasm"], &[], "nowhere.toml: "),
        (String::new(), &["--policy"], &[], "'--policy <FILE>'"),
        (String::new(), &["--optimise"], &[], "'--optimise'"),
        (String::new(), &["x.wasm"], &[], "'x.wasm'"),
        (String::new(), &["--features", "log,debug"], &[], "unknown feature `debug`"),
        (String::new(), &["--all", "--out", "x.wasm"], &[], "'--all' cannot be used with '--out"),
        (String::new(), &["--out", "nowhere/x.wasm"], &[], "--out nowhere/x.wasm"),
        (String::new(), &["--out", "x.wasm"], &[("WASM_OPT", "no/opt")], "WASM_OPT=no/opt"),
        (String::new(), &["--out", "x.wasm"], &[("WASM_OPT", "true")], "WASM_OPT=true"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("bad.toml"), bad).unwrap();
        assert_refused(folder.path(), &build_sh(folder.path(), args, env), expected);
    }
}

#[test]
fn nothing_is_installed_where_that_is_switched_off() {
    let folder = tempfile::tempdir().unwrap();
    for (setting, expected) in [("never", "HEADER_GATE_INSTALL=never"), ("no", "expected `never`")]
    {
        let mut gate = gate();
        gate.args(["build", "--out", "x.wasm"])
            .env("CARGO_MANIFEST_DIR", ROOT)
            .current_dir(&folder);
        gate.env("PATH", "/nowhere").env("HEADER_GATE_CACHE", "/nowhere").env_remove("WASM_OPT");
        let output = gate.env("HEADER_GATE_INSTALL", setting).output().unwrap();
        assert_refused(folder.path(), &output, expected);
    }
}

#[test]
fn verify_needs_no_checkout_and_build_says_that_it_does() {
    let plugin = build::artifact(Path::new(ROOT), &Variant::default()).unwrap();
    let (folder, plugin) = (tempfile::tempdir().unwrap(), plugin.to_str().unwrap());
    let run = |args: &[&str]| {
        let mut gate = gate();
        gate.args(args).current_dir(&folder).env_remove("CARGO_MANIFEST_DIR").output().unwrap()
    };
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
    let args = ["--policy", "mine.toml", "--out", "mine.wasm"];
    let env = [("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"), ("CARGO_PROFILE_RELEASE_STRIP", "false")];
    let output = build_sh(folder.path(), &args, &env);
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

/// The contract and `src/unroll.rs` have the same limit: values within it are compared without a loop.
#[test]
fn only_long_or_many_values_bring_a_loop() {
    for (size, count, loops) in [
        (60, 1, false),
        (100, 1, true),
        (4, 8, false),
        (4, 12, true),
        (60, 8, false),
        (100, 12, true),
    ] {
        let values: Vec<_> = (0..count).map(|i| format!("{i:x>size$}")).collect();
        let text = format!("header = \"h\"\nvalues = {values:?}\n[deny]\nstatus = 403\n");
        let properties = inspect(&build_policy(Variant::default(), &text)).unwrap();
        let found = properties.functions.iter().any(|function| function.loops > 0);
        assert_eq!(found, loops, "{count} values of {size} bytes");
    }
}

/// Building verifies that all of it fits into the one page of memory.
#[test]
fn a_policy_at_every_limit_makes_a_verified_plugin() {
    let values: Vec<_> = (0..256).map(|i| format!("{i:x>16}")).collect();
    let (name, body, headers) = ("x".repeat(256), "x".repeat(16 * 1024), vec![["x", "y"]; 682]);
    let text = format!(
        "header = {name:?}\nvalues = {values:?}\n[deny]\nstatus = 403\nheaders = {headers:?}\n\
         body = {body:?}\ndetails = {name:?}\n"
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
            let Ok(content) = fs::read(Path::new(ROOT).join(file)) else { continue };
            let to = folder.join(file);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            if fs::read(&to).is_ok_and(|old| old == content) {
                continue;
            }
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

#[test]
fn a_changed_source_or_policy_is_built_again() {
    let checkout = checkout();
    let artifact = || build::artifact(&checkout, &Variant::default()).unwrap();
    let before = artifact();
    for (file, from, to) in [
        ("policy.toml", "Forbidden", "forbidden"),
        ("src/lib.rs", "//!", "//! Changed."),
        ("crates/policy/src/lib.rs", "//!", "//! Changed."),
        ("Cargo.toml", "# What ships.", "# Changed."),
    ] {
        let file = checkout.join(file);
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
        let after = artifact();
        fs::write(&file, text).unwrap();
        assert_ne!(before, after, "{}", file.display());
        let same = fs::read(&before).unwrap() == fs::read(after).unwrap();
        assert_eq!(same, !file.ends_with("policy.toml"), "{}", file.display());
    }
    assert_eq!(before, artifact());
}

#[test]
fn a_variant_that_outgrew_its_entry_is_not_written() {
    let checkout = checkout();
    let (file, plugin) = (checkout.join(FILE), checkout.join("plugin.wasm"));
    let run = |all, bless| build::run_in(&checkout, &Options { all, bless, ..Options::default() });
    let read = || Ledger::read(&file).unwrap();
    let entry = || read().bytes("default");

    run(true, true).unwrap();
    assert_eq!(build::budget::compare(&checkout, false).unwrap(), Vec::<String>::new());
    let bytes = fs::metadata(&plugin).unwrap().len();
    assert_eq!(
        (read().variant.len(), entry()),
        (Variant::all(&checkout).unwrap().len(), Some(bytes))
    );

    let edit = |edit: fn(&mut Ledger)| {
        let mut ledger = read();
        edit(&mut ledger);
        ledger.write(&file).unwrap();
    };
    edit(|ledger| ledger.variant.get_mut("default").unwrap().bytes -= 1);
    fs::write(&plugin, "an older plugin").unwrap();
    let error = run(false, false).unwrap_err().to_string();
    let expected = format!("default grew: ledger.toml has {} bytes, now {bytes}", bytes - 1);
    assert!(error.starts_with(&expected) && error.contains("--bless"), "{error}");
    assert_eq!(fs::read(&plugin).unwrap(), b"an older plugin");
    run(false, true).unwrap();
    assert_eq!((entry(), fs::metadata(&plugin).unwrap().len()), (Some(bytes), bytes));

    // A smaller module is not an error, and changes the ledger only if blessed.
    edit(|ledger| ledger.variant.get_mut("default").unwrap().bytes += 1);
    run(false, false).unwrap();
    assert_eq!(entry(), Some(bytes + 1));

    // Every variant has an entry, every entry a variant, and a dearer request is a difference.
    edit(|ledger| {
        let mut log = ledger.variant.remove("log").unwrap();
        ledger.variant.insert("logs".into(), log);
        log = ledger.variant["sdk"];
        log.fuel[0] -= 1;
        ledger.variant.insert("sdk".into(), log);
    });
    let error = run(true, false).unwrap_err().to_string();
    assert!(error.contains("log has no entry in ledger.toml"), "{error}");
    assert!(error.contains("ledger.toml lists logs, which is not a variant"), "{error}");
    assert_eq!(build::budget::compare(&checkout, false).unwrap().len(), 4);

    // Sizes from other tools are reported, but neither fail nor mix with these.
    edit(|ledger| {
        ledger.variant.get_mut("default").unwrap().bytes -= 2;
        ledger.toolchain = Some("another".into());
    });
    run(false, false).unwrap();
    let error = run(false, true).unwrap_err().to_string();
    assert!(error.contains("was made with another, this is rustc"), "{error}");
}
