//! Which modules of a package import which: no circle anywhere, and between top-level modules only the listed arrows.
//!
//! A room is a module that lies beside others, at the top of a package or in a folder. The test reads `use` trees and
//! the paths `crate::...`, `super::...` and `self::...` in code, and follows names that a module passes on. A module and
//! the folder that it lies in may use each other.

use super::{files, report, without_tests};
use std::collections::{BTreeMap, BTreeSet};

/// The packages and where their modules lie.
const PACKAGES: [(&str, &str); 9] = [
    ("core", "core/src/"),
    ("transport", "transport/src/"),
    ("checker", "sim/checker/src/"),
    ("blackbox", "sim/blackbox/src/"),
    ("sim", "sim/src/"),
    ("client", "server/client/src/"),
    ("server", "server/src/"),
    ("tests", "tests/src/"),
    ("bench", "bench/src/"),
];

/// What each room may import, a line a room: `package room: rooms`. A new arrow is a word here, and so a decision.
const ARROWS: &str = include_str!("rooms.txt");

type Path = Vec<String>;

/// The modules of one package: what each is called, and its text without comments and tests.
struct Package {
    modules: BTreeMap<Path, String>,
}

/// Which module imports which within one folder.
type Arrows = BTreeMap<String, BTreeSet<String>>;

impl Package {
    fn read(root: &str) -> Self {
        let mut modules = BTreeMap::new();
        for (path, text) in files(&[".rs"]) {
            let Some(name) = path.strip_prefix(root).and_then(|name| name.strip_suffix(".rs")) else { continue };
            let mut module: Path = name.split('/').map(str::to_owned).collect();
            let is_program = module[0] == "main" || module[0] == "bin";
            if is_program || module.iter().any(|part| part == "tests") {
                continue;
            }
            module.pop_if(|last| last == "mod" || last == "lib");
            modules.insert(module, code(&text));
        }
        Self { modules }
    }

    #[cfg(test)]
    fn of(modules: &[(&str, &str)]) -> Self {
        let path = |name: &str| name.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        Self { modules: modules.iter().map(|&(name, text)| (path(name), code(text))).collect() }
    }

    /// What a module's paths name, from the package's root; and what it calls these things itself.
    fn paths(&self, module: &Path) -> (Vec<Path>, BTreeMap<String, Path>) {
        let (mut all, mut names) = (Vec::new(), BTreeMap::new());
        let text = &self.modules[module];
        for tree in statements(text) {
            for (path, name) in leaves(tree) {
                if let Some(path) = self.absolute(module, &path) {
                    names.insert(name, path.clone());
                    all.push(path);
                }
            }
        }
        all.extend(in_code(text).iter().filter_map(|path| self.absolute(module, path)));
        (all, names)
    }

    /// A path as it stands in a module, from the package's root; nothing for another package's.
    fn absolute(&self, module: &Path, path: &[String]) -> Option<Path> {
        let mut at = module.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => (at, rest) = (Path::new(), &path[1..]),
            "self" | "super" => {
                while let Some(first) = rest.first().filter(|first| *first == "self" || *first == "super") {
                    if first == "super" {
                        at.pop();
                    }
                    rest = &rest[1..];
                }
            }
            child => {
                at.push(child.to_owned());
                if !self.modules.contains_key(&at) {
                    return None;
                }
                rest = &path[1..];
            }
        }
        at.extend_from_slice(rest);
        Some(at)
    }

    /// The arrows of each folder.
    fn arrows(&self) -> BTreeMap<Path, Arrows> {
        let paths: BTreeMap<&Path, _> = self.modules.keys().map(|module| (module, self.paths(module))).collect();
        let mut folders: BTreeMap<Path, Arrows> = BTreeMap::new();
        for (module, (used, _)) in &paths {
            for path in used {
                let home = self.home(path, &paths);
                let common = module.iter().zip(&home).take_while(|(one, other)| one == other).count();
                if let (Some(from), Some(to)) = (module.get(common), home.get(common)) {
                    let folder = folders.entry(module[..common].to_vec()).or_default();
                    folder.entry(from.clone()).or_default().insert(to.clone());
                }
            }
        }
        folders
    }

    /// The module in which what a path names is written, as far as names that are passed on tell.
    fn home(&self, path: &Path, paths: &BTreeMap<&Path, (Vec<Path>, BTreeMap<String, Path>)>) -> Path {
        let mut path = path.clone();
        for _ in 0..8 {
            let known = (0..=path.len()).rev().find(|&count| self.modules.contains_key(&path[..count])).unwrap_or(0);
            let (module, rest) = path.split_at(known);
            let passed_on = rest.first().and_then(|name| paths.get(&module.to_vec())?.1.get(name));
            match passed_on.filter(|next| **next != path) {
                Some(next) => path = next.iter().chain(&rest[1..]).cloned().collect(),
                None => return module.to_vec(),
            }
        }
        Path::new()
    }
}

/// A file's code: no comments, no test module at its end.
fn code(text: &str) -> String {
    without_tests(text).lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The trees of all `use` statements.
fn statements(text: &str) -> impl Iterator<Item = &str> {
    let starts = text.match_indices("use ").filter(|&(at, _)| !text[..at].ends_with(is_of_a_name));
    starts.filter_map(|(at, word)| text[at + word.len()..].split(';').next())
}

fn is_of_a_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// Every path of a tree such as `a::{b, c as d}`, and the name that it gets.
fn leaves(tree: &str) -> Vec<(Path, String)> {
    if let Some((head, inner)) = tree.trim().strip_suffix('}').and_then(|tree| tree.split_once('{')) {
        let (mut depth, mut start, mut all) = (0_u32, 0, Vec::new());
        for (at, letter) in inner.char_indices().chain([(inner.len(), ',')]) {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    let branch = inner[start..at].trim();
                    if !branch.is_empty() {
                        all.extend(leaves(&format!("{}{branch}", head.trim())));
                    }
                    start = at + 1;
                }
                _ => {}
            }
        }
        return all;
    }
    let (path, name) = match tree.split_once(" as ") {
        Some((path, name)) => (path, Some(name)),
        None => (tree, None),
    };
    let mut path: Path = path.split("::").map(|part| part.trim().to_owned()).collect();
    if path.len() > 1 {
        path.pop_if(|last| last == "self");
    }
    let last = path.last().cloned().unwrap_or_default();
    vec![(path, name.map_or(last, |name| name.trim().to_owned()))]
}

/// The paths that stand in the code itself.
fn in_code(text: &str) -> Vec<Path> {
    let mut all = Vec::new();
    for line in text.lines() {
        let words = line.split(|letter: char| !is_of_a_name(letter) && letter != ':');
        for word in words.filter(|word| word.contains("::") && !line.trim_start().starts_with("use ")) {
            all.push(word.trim_matches(':').split("::").map(str::to_owned).collect());
        }
    }
    all
}

/// The rooms that import each other in a circle, if any do.
fn circle(arrows: &Arrows) -> Option<Vec<String>> {
    let mut left = arrows.clone();
    loop {
        let before = left.len();
        let known: BTreeSet<String> = left.keys().cloned().collect();
        left.retain(|_, to| to.iter().any(|room| known.contains(room)));
        if left.len() == before {
            break;
        }
    }
    // Each room that is left imports another that is left: following them meets one again.
    let mut way = vec![left.keys().next()?.clone()];
    loop {
        let next = left[way.last()?].iter().find(|room| left.contains_key(*room))?.clone();
        if let Some(at) = way.iter().position(|room| *room == next) {
            way.drain(..at);
            way.push(next);
            return Some(way);
        }
        way.push(next);
    }
}

/// The list: for each package what each room may import.
fn listed(list: &str) -> BTreeMap<&str, Arrows> {
    let mut all: BTreeMap<&str, Arrows> = BTreeMap::new();
    for line in list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (from, to) = line.split_once(':').unwrap_or_else(|| panic!("no colon in {line:?}"));
        let (package, room) = from.split_once(' ').unwrap_or_else(|| panic!("no package in {line:?}"));
        let to = to.split_whitespace().map(str::to_owned).collect();
        let doubled = all.entry(package).or_default().insert(room.to_owned(), to);
        assert_eq!(doubled, None, "{line:?} stands there twice");
    }
    all
}

/// What is wrong with the arrows of a package: circles in any folder, and arrows at the top that differ from the list.
fn complaints(name: &str, package: &Package, listed: &Arrows) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut folders = package.arrows();
    for (folder, arrows) in &folders {
        if let Some(circle) = circle(arrows) {
            wrong.push(format!("{name}/{}: a circle of imports: {}", folder.join("/"), circle.join(" -> ")));
        }
    }
    let top = folders.remove(&Path::new()).unwrap_or_default();
    let pairs = |arrows: &Arrows| -> BTreeSet<(String, String)> {
        arrows.iter().flat_map(|(from, all)| all.iter().map(move |to| (from.clone(), to.clone()))).collect()
    };
    let (found, listed) = (pairs(&top), pairs(listed));
    wrong.extend(found.difference(&listed).map(|(from, to)| format!("{name}: {from} -> {to} is not in rooms.txt")));
    wrong.extend(listed.difference(&found).map(|(from, to)| format!("{name}: {from} -> {to} is not in the code")));
    wrong
}

#[test]
fn rooms_import_each_other_as_listed_and_in_no_circle() {
    let listed = listed(ARROWS);
    let none = Arrows::new();
    let wrong = PACKAGES
        .iter()
        .flat_map(|&(name, root)| complaints(name, &Package::read(root), listed.get(name).unwrap_or(&none)));
    report("modules import each other in one direction, as tests/tidy/rooms.txt says", &wrong.collect::<Vec<_>>());
}

#[test]
fn planted_arrows_and_circles_are_found() {
    let plain = [("", "mod a;\npub mod b;\npub use a::Thing;"), ("a", "pub struct Thing;"), ("b", "use crate::Thing;")];
    let listed_one = listed("p b: a");
    assert_eq!(complaints("p", &Package::of(&plain), &listed_one["p"]), [""; 0]);
    let texts = [
        ("use crate::b::{self, c as d};", "p/: a circle of imports: a -> b -> a"),
        ("fn f() { super::b::c() }", "p/: a circle of imports: a -> b -> a"),
        ("fn f(x: &crate::b::C) {}", "p/: a circle of imports: a -> b -> a"),
    ];
    for (text, expected) in texts {
        let mut planted = plain;
        planted[1].1 = text;
        planted[2].1 = "use super::a::Thing;";
        let wrong = complaints("p", &Package::of(&planted), &listed_one["p"]);
        assert_eq!(wrong, [expected, "p: a -> b is not in rooms.txt"], "{text}");
    }
    // Comments and tests are no arrows, and a folder's own modules may use it.
    let mut quiet = plain;
    quiet[1].1 =
        "// use crate::b;\n/// [`crate::b`]\npub struct Thing;\n#[cfg(test)]\nmod tests {\n    use crate::b;\n}\n";
    assert_eq!(complaints("p", &Package::of(&quiet), &listed_one["p"]), [""; 0]);
    let nested = [("", ""), ("a", "use b::B; use c::C;"), ("a/b", "use super::{C, X};"), ("a/c", "use super::b;")];
    assert_eq!(complaints("p", &Package::of(&nested), &Arrows::new()), ["p/a: a circle of imports: b -> c -> b"]);
    let gone = complaints("p", &Package::of(&[("a", ""), ("b", "")]), &listed_one["p"]);
    assert_eq!(gone, ["p: b -> a is not in the code"]);
}
