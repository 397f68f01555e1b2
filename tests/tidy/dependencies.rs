//! What the repository depends on keeps to `deny.toml`: licences, versions, sources.
//!
//! cargo-deny checks the same and more. It takes minutes to build, so this test reads its file instead.

use super::{report, root};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::{env, fs};

/// All packages of the lock file, as cargo describes them.
fn packages() -> Vec<Value> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--locked", "--all-features"])
        .current_dir(root())
        .output()
        .expect("cargo is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages").clone();
    assert!(packages.len() > 50, "only {} packages", packages.len());
    packages
}

fn allowed() -> toml::Table {
    let text = fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
    text.parse().expect("deny.toml is TOML")
}

fn text<'a>(package: &'a Value, field: &str) -> &'a str {
    package[field].as_str().unwrap_or_default()
}

/// Can the expression be met with these licences alone?
fn is_met(expression: &str, licences: &BTreeSet<&str>) -> bool {
    // Older packages write a slash where the standard has OR.
    spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX).is_ok_and(|expression| {
        expression
            .evaluate(|one| one.addition.is_none() && one.license.id().is_some_and(|id| licences.contains(id.name)))
    })
}

#[test]
fn licences_are_among_the_allowed() {
    let allowed = allowed();
    let licences: BTreeSet<&str> =
        allowed["licenses"]["allow"].as_array().expect("a list").iter().filter_map(toml::Value::as_str).collect();
    assert!(is_met("(MIT OR GPL-3.0) AND Zlib", &licences), "{licences:?}");
    assert!(!is_met("MIT AND GPL-3.0", &licences) && !is_met("GPL-3.0", &licences) && !is_met("", &licences));
    let complaints: Vec<String> = packages()
        .iter()
        .filter(|package| !is_met(text(package, "license"), &licences))
        .map(|package| format!("{} has the licence {}", text(package, "name"), package["license"]))
        .collect();
    report("each package can be used under a licence that deny.toml allows", &complaints);
}

#[test]
fn no_package_comes_in_two_versions() {
    let allowed = allowed();
    let skipped: BTreeSet<&str> = allowed["bans"]["skip"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one.get("crate").and_then(toml::Value::as_str))
        .collect();
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages() {
        versions.entry(text(&package, "name").to_owned()).or_default().insert(text(&package, "version").to_owned());
    }
    let twice: BTreeMap<&String, &BTreeSet<String>> =
        versions.iter().filter(|(_, versions)| versions.len() > 1).collect();
    let mut complaints: Vec<String> = twice
        .iter()
        .filter(|(name, _)| !skipped.contains(name.as_str()))
        .map(|(name, versions)| format!("{name} comes as {versions:?}"))
        .collect();
    let needless = skipped.iter().filter(|name| !twice.keys().any(|twice| twice == *name));
    complaints.extend(needless.map(|name| format!("deny.toml skips {name}, which comes once")));
    report("a package comes in one version", &complaints);
}

#[test]
fn packages_come_from_the_registry_or_from_here() {
    let registries: BTreeSet<String> =
        packages().iter().filter_map(|package| package["source"].as_str()).map(str::to_owned).collect();
    let complaints: Vec<String> = packages()
        .iter()
        .filter(|package| match package["source"].as_str() {
            Some(source) => !source.starts_with("registry+"),
            None => !text(package, "name").starts_with("hence"),
        })
        .map(|package| format!("{} comes from {}", text(package, "name"), package["source"]))
        .collect();
    report("packages come from the registry or from this repository", &complaints);
    assert_eq!(registries.len(), 1, "one registry: {registries:?}");
}
