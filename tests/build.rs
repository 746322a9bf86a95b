//! `build.sh` and what is behind it: one clear error for what is wrong, the same bytes from anywhere,
//! and a ledger that no variant outgrows.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use header_gate_cli::build::ledger::{self, Ledger};
use header_gate_cli::build::variant::Variant;
use header_gate_cli::{build, command};
use header_gate_contract as verify;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// `build.sh` with these arguments, in a folder of its own.
fn build_sh(folder: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    // The tools are compiled once, before what is written to stderr counts.
    static READY: LazyLock<()> = LazyLock::new(|| {
        let script = Path::new(ROOT).join("build.sh");
        let help = Command::new(script).arg("--help").output().unwrap();
        assert!(help.status.success(), "{}", String::from_utf8_lossy(&help.stderr));
        assert!(String::from_utf8_lossy(&help.stdout).contains("--policy FILE"));
    });
    LazyLock::force(&READY);
    let mut script = Command::new(Path::new(ROOT).join("build.sh"));
    script.args(args).envs(env.iter().copied()).current_dir(folder).output().unwrap()
}

/// Asserts that a build failed with this one error, and wrote nothing.
fn refused(folder: &Path, output: &Output, expected: &str) {
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("error: ") && stderr.contains(expected), "{expected}: {stderr}");
    let modules = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.file_name());
    let modules: Vec<_> = modules.filter(|name| name != "bad.toml").collect();
    assert!(modules.is_empty(), "{modules:?}");
}

#[test]
fn a_bad_policy_is_one_error_that_names_file_key_and_reason() {
    let good = fs::read_to_string(Path::new(ROOT).join("policy.toml")).unwrap();
    let header = r#"header = "allow""#;
    let values = r#"values = ["true"]"#;
    let content = r#""text/plain""#;
    for (from, to, expected) in [
        (header, "header = \"allow\"\ncolour = 1", "`colour` is not a key here"),
        ("[deny]", "[deny]\nstat = 1", "`deny.stat` is not a key here"),
        (header, "", "`header` is missing"),
        (header, "header = \"\"", "`header` is an empty field name"),
        (header, "header = \"al low\"", "`header` holds ' '"),
        (values, "values = []", "`values` is empty"),
        (values, "values = [\"\"]", "`values[0]` is empty"),
        (values, "values = \"true\"", "`values` is a TOML string, not an array"),
        (content, "\"text\\rplain\"", "`deny.headers[0]` holds a CR"),
        (content, "\"text\\nplain\"", "`deny.headers[0]` holds an LF"),
        (content, "\"text\\u0000plain\"", "`deny.headers[0]` holds a NUL"),
        ("status = 403", "status = 199", "`deny.status` is 199, not between 200 and 599"),
        ("status = 403", "status = 600", "`deny.status` is 600, not between 200 and 599"),
        ("[deny]", "[deny", "is not TOML"),
    ] {
        assert!(good.contains(from), "{from}");
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("bad.toml"), good.replacen(from, to, 1)).unwrap();
        let args = ["--policy", "bad.toml", "--out", "bad.wasm"];
        let output = build_sh(folder.path(), &args, &[]);
        refused(folder.path(), &output, expected);
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: bad.toml: "));
    }
}

#[test]
fn what_cannot_be_built_is_one_error_and_leaves_nothing() {
    for (args, env, expected) in [
        (&["--policy", "nowhere.toml", "--out", "x.wasm"][..], &[][..], "nowhere.toml: cannot be"),
        (&["--policy"], &[], "'--policy'"),
        (&["--optimise"], &[], "'--optimise'"),
        (&["x.wasm"], &[], "\"x.wasm\""),
        (&["--features", "log,debug", "--out", "x.wasm"], &[], "no feature `debug`"),
        (&["--all", "--out", "x.wasm"], &[], "--all"),
        (&["--out", "nowhere/x.wasm"], &[], "--out nowhere/x.wasm"),
        (&["--out", "x.wasm"], &[("WASM_OPT", "nowhere/wasm-opt")], "WASM_OPT=nowhere/wasm-opt"),
        (&["--out", "x.wasm"], &[("WASM_OPT", "true")], "WASM_OPT=true"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        refused(folder.path(), &build_sh(folder.path(), args, env), expected);
    }
}

#[test]
fn paths_are_the_callers_and_flags_from_outside_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(Path::new(ROOT).join("policy.toml"), folder.path().join("mine.toml")).unwrap();
    let output = build_sh(
        folder.path(),
        &["--policy", "mine.toml", "--out", "mine.wasm"],
        &[("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"), ("CARGO_PROFILE_RELEASE_STRIP", "false")],
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let plugin = build::artifact(Path::new(ROOT), &Variant::default()).unwrap();
    assert_eq!(fs::read(folder.path().join("mine.wasm")).unwrap(), fs::read(plugin).unwrap());
}

#[test]
fn every_policy_that_ships_makes_a_verified_plugin() {
    let root = Path::new(ROOT);
    let shipped = root.join("policies");
    let variants = Variant::all(root).unwrap();
    let policies = variants
        .iter()
        .filter(|variant| variant.policy_file(root).is_some_and(|file| file.starts_with(&shipped)));
    let mut count = 0;
    for variant in policies {
        let wasm = fs::read(build::artifact(root, variant).unwrap()).unwrap();
        let contract = variant.contract(root).unwrap().unwrap();
        let properties = verify::inspect(&wasm).unwrap();
        assert_eq!(properties.violations(&contract), Vec::<String>::new());
        count += 1;
    }
    assert_eq!(count, fs::read_dir(&shipped).unwrap().count());
}

/// Both the contract and `src/unroll.rs` have a limit, and it is the same: a contract with a lower
/// one refuses the longest values without a loop here, a higher one the shorter ones with a loop.
#[test]
fn only_long_or_many_values_bring_a_loop() {
    let value = |size: usize, i: usize| format!("{i:x>size$}");
    for (sizes, loops) in [
        (vec![60; 1], false),
        (vec![100; 1], true),
        (vec![4; 8], false),
        (vec![4; 12], true),
        (vec![60; 8], false),
        (vec![100; 12], true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("gate.toml");
        let values: Vec<_> = sizes.iter().enumerate().map(|(i, &size)| value(size, i)).collect();
        let text = format!("header = \"h\"\nvalues = {values:?}\n[deny]\nstatus = 403\n");
        fs::write(&policy, text).unwrap();
        let variant = Variant::default().with_policy(policy);
        let root = Path::new(ROOT);
        let artifact = build::artifact(root, &variant).unwrap();
        let properties = verify::inspect(&fs::read(&artifact).unwrap()).unwrap();
        let found = properties.functions.iter().any(|function| function.loops > 0);
        assert_eq!(found, loops, "{sizes:?}");
        fs::remove_dir_all(artifact.parent().unwrap()).unwrap();
    }
}

/// What a policy may hold at most is what one page of memory has room for.
#[test]
fn a_policy_at_every_limit_makes_a_verified_plugin() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("gate.toml");
    let text = |bytes: usize| "x".repeat(bytes);
    let values: Vec<_> = (0..256).map(|i| format!("{i:x>16}")).collect();
    let (name, body, headers) = (text(256), text(16 * 1024), vec![["x", "y"]; 682]);
    let text = format!(
        "header = {name:?}\nvalues = {values:?}\n[deny]\nstatus = 403\nheaders = {headers:?}\n\
         body = {body:?}\ndetails = {name:?}\n"
    );
    fs::write(&policy, text).unwrap();
    for variant in [Variant::default(), Variant::log()] {
        let variant = variant.with_policy(&policy);
        let artifact = build::artifact(Path::new(ROOT), &variant).unwrap();
        let size = fs::metadata(&artifact).unwrap().len();
        assert!(size > 16 * 1024, "{size}");
        fs::remove_dir_all(artifact.parent().unwrap()).unwrap();
    }
}

/// A second checkout, in another folder and with a target folder of its own, which later runs find
/// again: what is compiled there takes a minute.
fn checkout() -> MutexGuard<'static, PathBuf> {
    static CHECKOUT: LazyLock<(Mutex<PathBuf>, File)> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("a second checkout");
        fs::create_dir_all(&folder).unwrap();
        let lock = File::create(folder.with_extension("lock")).unwrap();
        lock.lock().unwrap();
        copy_sources(&folder);
        (Mutex::new(folder), lock)
    });
    CHECKOUT.0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Copies what git knows of this checkout, as it stands, to `folder`.
fn copy_sources(folder: &Path) {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(ROOT);
    let files = String::from_utf8(git.output().unwrap().stdout).unwrap();
    for file in files.split_terminator('\0').filter(|file| Path::new(ROOT).join(file).is_file()) {
        let to = folder.join(file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(Path::new(ROOT).join(file), to).unwrap();
    }
}

#[test]
fn two_folders_give_the_same_bytes() {
    let checkout = checkout();
    for variant in [Variant::default(), Variant::log(), Variant::sdk(), Variant::baseline()] {
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
fn a_variant_that_outgrew_its_entry_is_not_put_in_place() {
    let checkout = checkout();
    let (file, plugin) = (checkout.join(ledger::FILE), checkout.join("plugin.wasm"));
    let run = |args: &[&str]| command::build(&checkout, args);
    let key = ["default".to_owned()];

    // This toolchain's own ledger, whichever made the committed one.
    run(&["--all", "--bless"]).unwrap();
    run(&["--all"]).unwrap();
    let bytes = Ledger::read(&file).unwrap().bytes(&key).unwrap();
    assert_eq!(bytes, fs::metadata(&plugin).unwrap().len());

    let edit = |entry: u64| {
        let text = fs::read_to_string(&file).unwrap();
        let (head, tail) = text.split_once("[default]\n").unwrap();
        let (_, rest) = tail.split_once('\n').unwrap();
        fs::write(&file, format!("{head}[default]\nbytes = {entry}\n{rest}")).unwrap();
    };
    edit(bytes - 1);
    fs::write(&plugin, "an older plugin").unwrap();
    for args in [&[][..], &["--all"]] {
        let error = run(args).unwrap_err().to_string();
        let expected = format!("default grew: ledger.toml says {} bytes, now {bytes}", bytes - 1);
        assert!(error.starts_with(&expected) && error.contains("--bless"), "{error}");
        assert_eq!(fs::read(&plugin).unwrap(), b"an older plugin");
    }
    run(&["--bless"]).unwrap();
    assert_eq!(Ledger::read(&file).unwrap().bytes(&key), Some(bytes));
    assert_eq!(fs::metadata(&plugin).unwrap().len(), bytes);

    // It shrank: no failure, and no new entry until it is blessed.
    edit(bytes + 1);
    run(&[]).unwrap();
    assert_eq!(Ledger::read(&file).unwrap().bytes(&key), Some(bytes + 1));

    // With other tools, sizes may differ: reported, and the entries stay together.
    edit(bytes - 1);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("toolchain = \"", "toolchain = \"another ")).unwrap();
    run(&[]).unwrap();
    let error = run(&["--bless"]).unwrap_err().to_string();
    assert!(error.contains("was made with another rustc"), "{error}");

    // Every variant has an entry, and every entry a variant.
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("[log]", "[logs]")).unwrap();
    let error = run(&["--all"]).unwrap_err().to_string();
    assert!(error.contains("log has no entry in ledger.toml"), "{error}");
    assert!(error.contains("ledger.toml lists logs, which is gone"), "{error}");
    run(&["--all", "--bless"]).unwrap();
    run(&["--all"]).unwrap();
}
