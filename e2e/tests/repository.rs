//! What hosts of the repository read, checked by their schemas and by linters: workflows, forms, dependabot, compose. And
//! the spelling of every file. The tools are PyPI's, pinned in `pins/pypi/lint.txt`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use header_gate_cli::push::VERSION;
use header_gate_e2e::schemas::{check_jsonschema, lint};
use header_gate_e2e::{root, stdout};
use header_gate_envoy::NEWEST;
use tempfile::TempDir;

/// Mistakes that a schema must find: the built-in schema of check-jsonschema, the file, a text in it, the wrong text.
const MISTAKES: &str = "\
vendor.compose-spec | deploy/compose.yaml | network_mode: | network-mode:
vendor.dependabot | .github/dependabot.yml | interval: weekly | interval: hourly
vendor.github-issue-config | .github/ISSUE_TEMPLATE/config.yml | true | maybe
vendor.github-issue-forms | .github/ISSUE_TEMPLATE/bug.yml | type: dropdown | type: menu
vendor.github-issue-forms | .github/ISSUE_TEMPLATE/feature.yml | label: | labels:
vendor.github-workflows | .github/workflows/ci.yml | runs-on: | run-on:
vendor.github-workflows | .github/workflows/nightly.yml | cron: | crom:
vendor.github-workflows | .github/workflows/release.yml | needs: images | need: images
custom.github-workflows-require-timeout | .github/workflows/ci.yml | timeout-minutes: 90 | if: true
custom.github-workflows-require-timeout | .github/workflows/nightly.yml | timeout-minutes: 30 | if: true
custom.github-workflows-require-timeout | .github/workflows/release.yml | timeout-minutes: 30 | if: true
";

/// Mistakes that zizmor must find: its name for them, the workflow, a text in it, the wrong text.
const RISKS: &str = "\
unpinned-uses | ci.yml | checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 | checkout@v7
unpinned-images | ci.yml | rust:1.95-bookworm@sha256: | rust:1.95-bookworm #
artipacked | ci.yml | persist-credentials: false | fetch-depth: 1
excessive-permissions | ci.yml | permissions: {} | permissions: write-all
excessive-permissions | nightly.yml | permissions: {} | permissions: { contents: write }
dangerous-triggers | ci.yml | pull_request: | pull_request_target:
template-injection | ci.yml | if [ \"$RUST\" = | if [ ${{ github.head_ref }} =
template-injection | nightly.yml | run: $COMMAND | run: ${{ matrix.command }}
excessive-permissions | release.yml | permissions: {} | permissions: { id-token: write }
undocumented-permissions | release.yml | write # create the release | write
cache-poisoning | release.yml | actions/attest@1e69f48acb82d1966a394da916b4c1698aa569d6 # v4.2.2 | Swatinem/rust-cache@6323deb102c322ba6fcbdcafc7e3dddab59af2b6 # v2.9.2
dependabot-cooldown | dependabot.yml | default-days: 7 | default-days: 0
";

#[test]
fn every_file_has_its_schema_and_every_mistake_is_found() {
    let folder = TempDir::new().unwrap();
    // All files of a schema at once: to start Python takes longest.
    let mut schemas: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (number, mistake) in MISTAKES.lines().enumerate() {
        let [schema, file, from, to] = mistake.split(" | ").collect::<Vec<_>>().try_into().unwrap();
        let text = fs::read_to_string(root().join(file)).unwrap();
        assert!(text.contains(from), "{mistake}");
        let wrong = folder.path().join(format!("{number}.yaml"));
        fs::write(&wrong, text.replacen(from, to, 1)).unwrap();
        schemas.entry(schema).or_default().push((mistake, root().join(file), wrong));
    }
    for (schema, checked) in schemas {
        let check = || {
            let mut check = check_jsonschema();
            check.args(["--builtin-schema", schema]);
            check
        };
        let files = checked.iter().map(|(_, file, _)| file);
        stdout(check().args(files).output().unwrap());
        let wrong = checked.iter().map(|(.., wrong)| wrong);
        let found = check().args(wrong).output().unwrap().stdout;
        let found = String::from_utf8(found).unwrap();
        for (mistake, _, wrong) in &checked {
            // An error names the file and the place in it.
            assert!(found.contains(&format!("{}::$", wrong.display())), "{mistake}: {found}");
        }
    }
}

#[test]
fn no_file_of_github_is_left_out() {
    let known = MISTAKES.to_owned() + ".github/pull_request_template.md";
    let mut git = Command::new("git");
    let files = stdout(git.args(["ls-files", ".github"]).current_dir(root()).output().unwrap());
    for file in files.lines() {
        assert!(known.contains(file), "{file} is not checked");
    }
}

/// zizmor's findings, by name, in a folder that looks like the repository's `.github`.
fn risks(folder: &Path) -> String {
    let mut zizmor = Command::new(lint().join("bin/zizmor"));
    zizmor.args([
        "--offline",
        "--pedantic",
        "--strict-collection",
        "--format=plain",
        "--color=never",
        "--no-exit-codes",
    ]);
    stdout(zizmor.arg(folder).output().unwrap())
}

#[test]
fn no_workflow_has_a_risk_and_every_risk_is_found() {
    let none = risks(&root().join(".github"));
    assert!(none.starts_with("No findings to report"), "{none}");
    for risk in RISKS.lines() {
        let [name, file, from, to] = risk.split(" | ").collect::<Vec<_>>().try_into().unwrap();
        let folder = if file == "dependabot.yml" { ".github" } else { ".github/workflows" };
        let text = fs::read_to_string(root().join(folder).join(file)).unwrap();
        assert!(text.contains(from), "{risk}");
        let copy = TempDir::new().unwrap();
        let folder = copy.path().join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(file), text.replacen(from, to, 1)).unwrap();
        let found = risks(copy.path());
        assert!(found.contains(&format!("[{name}]")), "{risk}:\n{found}");
    }
}

#[test]
fn the_workflows_run_in_the_image_of_the_devcontainer() {
    let dockerfile = fs::read_to_string(root().join(".devcontainer/Dockerfile")).unwrap();
    let image = dockerfile.split_once("\nFROM ").unwrap().1.lines().next().unwrap();
    for file in fs::read_dir(root().join(".github/workflows")).unwrap() {
        let workflow = fs::read_to_string(file.unwrap().path()).unwrap();
        for other in workflow.lines().filter_map(|line| line.trim().strip_prefix("image: ")) {
            assert_eq!(other, image);
        }
    }
}

#[test]
fn no_word_is_misspelt() {
    let typos = |place: &Path| {
        let mut typos = Command::new(lint().join("bin/typos"));
        typos.args(["--format", "brief", "--config"]).arg(root().join("typos.toml"));
        // From there: the folders of typos.toml are relative.
        typos.arg(".").current_dir(place).output().unwrap()
    };
    stdout(typos(root()));
    let folder = TempDir::new().unwrap();
    // Not written here as it is: the first check reads this file too.
    fs::write(folder.path().join("text.md"), ["h", "te"].concat()).unwrap();
    let output = typos(folder.path());
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().ends_with("` should be `the`\n"));
}

/// The workflow `release` publishes that section.
#[test]
fn the_changelog_has_a_dated_section_for_the_version() {
    let changelog = fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    let mut heads = changelog.lines().filter_map(|line| line.strip_prefix("## "));
    let date = heads.find_map(|head| head.strip_prefix(&format!("{VERSION} - "))).unwrap();
    let parts: Vec<_> = date.split('-').map(str::parse::<u32>).collect();
    let is_date = matches!(parts[..], [Ok(2026..), Ok(1..=12), Ok(1..=31)]);
    assert!(is_date && date.len() == 10, "{date}");
}

#[test]
fn compose_runs_the_newest_envoy_that_is_tested() {
    let compose = fs::read_to_string(root().join("deploy/compose.yaml")).unwrap();
    assert!(compose.contains(&format!("image: envoyproxy/envoy:v{NEWEST}\n")));
}
