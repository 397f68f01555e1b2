//! Outputs that stand under their name only when they are whole, and that never replace what a command reads.
//!
//! An output is written beside its place, without a name, and named at the end. A command that fails, or is ended, leaves
//! what stood there before and nothing beside it. A device or a pipe cannot be replaced by a rename, so it is written to as it is. Standard output goes
//! on where the command's own lines end, whatever file it is. As an output `-` is standard output, and as what is read it
//! is standard input.

use super::part::Part;
use super::{Problem, output};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{BufReader, BufWriter, Write};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

/// What standard input is called as an input, and standard output as an output.
pub const STANDARD: &str = "-";

/// Where an output goes until it is whole.
enum Place {
    /// Beside the file that it becomes.
    Beside(Part),
    /// A device or a pipe.
    Direct(File),
}

/// A file that is being written. Dropped without [`Output::finish`], it leaves nothing behind.
pub struct Output {
    /// As the user named it.
    name: PathBuf,
    /// Behind all links.
    path: PathBuf,
    place: BufWriter<Place>,
}

impl Write for Place {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Beside(part) => part.file().write(bytes),
            Self::Direct(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Beside(part) => part.file().flush(),
            Self::Direct(file) => file.flush(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.place.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.place.flush()
    }
}

impl Output {
    /// Begins an output; a place that cannot be written to is an error here, before any work is done for it.
    pub fn create(name: &Path) -> Result<Self, Problem> {
        Self::open(name).map_err(|error| Problem::of_file(name, &error))
    }

    fn open(name: &Path) -> std::io::Result<Self> {
        // What a link points to is replaced, and the link stays.
        let path = fs::canonicalize(name).unwrap_or_else(|_| name.to_owned());
        let there = fs::metadata(&path).ok();
        if there.as_ref().is_some_and(Metadata::is_dir) {
            return Err(std::io::ErrorKind::IsADirectory.into());
        }
        // What `/dev/stdout` leads to may be a file that is being written to.
        let is_device = name.starts_with("/dev") || name.starts_with("/proc");
        let place = if let Some(standard) = Standard::named(name) {
            Place::Direct(standard.file()?)
        } else if is_device || there.as_ref().is_some_and(|there| !there.is_file()) {
            Place::Direct(OpenOptions::new().write(true).open(&path)?)
        } else {
            if there.is_some() {
                // A rename asks the folder alone; a file that says it is not to be written stays.
                OpenOptions::new().append(true).open(&path)?;
            }
            Place::Beside(Part::beside(&path, there.map(|there| there.permissions()))?)
        };
        Ok(Self { name: name.to_owned(), path, place: BufWriter::with_capacity(1 << 16, place) })
    }

    /// Puts a file in its place that holds these bytes and no others.
    pub fn hold(mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.write_all(bytes).map_err(|error| Problem::of_file(&self.name, &error))?;
        self.finish()
    }

    /// Puts the whole file in its place.
    pub fn finish(self) -> Result<(), Problem> {
        let Self { name, path, place } = self;
        let place = place.into_inner().map_err(std::io::IntoInnerError::into_error);
        place.and_then(|place| place.settle(&path)).map_err(|error| Problem::of_file(&name, &error))
    }
}

impl Place {
    fn settle(self, path: &Path) -> std::io::Result<()> {
        match self {
            Self::Direct(mut file) => file.flush(),
            Self::Beside(part) => {
                // Its bytes are on the disk before its name is.
                part.file().sync_all()?;
                part.replace(path)
            }
        }
    }
}

/// Writes a whole file at once.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    Output::create(path)?.hold(bytes)
}

/// What a history or a case is read from: a file, or the standard input, which is named `-`.
pub struct Input {
    /// As messages name it.
    pub name: String,
    /// What it holds.
    pub bytes: BufReader<File>,
    /// What the system says of it.
    pub metadata: Option<Metadata>,
}

impl Input {
    /// Opens it for reading.
    ///
    /// # Errors
    ///
    /// What cannot be opened, and folders.
    pub fn open(path: &Path) -> Result<Self, String> {
        let is_standard = path.as_os_str() == STANDARD;
        let name = if is_standard { "standard input".into() } else { path.display().to_string() };
        let at = |error: std::io::Error| format!("{name}: {error}");
        let file = if is_standard {
            File::from(std::io::stdin().as_fd().try_clone_to_owned().map_err(at)?)
        } else {
            File::open(path).map_err(at)?
        };
        let metadata = file.metadata().ok();
        if metadata.as_ref().is_some_and(Metadata::is_dir) {
            return Err(at(std::io::ErrorKind::IsADirectory.into()));
        }
        Ok(Self { name, bytes: BufReader::with_capacity(1 << 18, file), metadata })
    }
}

/// A stream that the process was started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standard {
    Output,
    Error,
}

impl Standard {
    /// The stream that a name leads to, by whatever link: opened anew by its name, a file would be written from its
    /// start.
    fn named(name: &Path) -> Option<Self> {
        if name.as_os_str() == STANDARD {
            return Some(Self::Output);
        }
        // Each link is followed by hand, because behind the last one is a name that many streams may share.
        let mut name = name.to_owned();
        for _ in 0..LINKS_MAX {
            let text = name.to_string_lossy();
            let number = text.strip_prefix("/proc/").and_then(|rest| rest.split_once("/fd/"));
            let own = std::process::id().to_string();
            match number {
                Some((process, "1")) if process == "self" || process == own => return Some(Self::Output),
                Some((process, "2")) if process == "self" || process == own => return Some(Self::Error),
                Some(_) | None => {}
            }
            if let Some(number) = text.strip_prefix("/dev/fd/") {
                name = Path::new("/proc/self/fd").join(number);
                continue;
            }
            let target = fs::read_link(&name).ok()?;
            name = name.parent().unwrap_or(Path::new("/")).join(target);
        }
        None
    }

    /// A handle of it, which shares its place in a file.
    fn file(self) -> std::io::Result<File> {
        Ok(File::from(match self {
            Self::Output => std::io::stdout().as_fd().try_clone_to_owned()?,
            Self::Error => std::io::stderr().as_fd().try_clone_to_owned()?,
        }))
    }
}

/// Links behind each other that lead to a stream.
const LINKS_MAX: usize = 8;

/// Refuses outputs that are one with what is read, with each other or with a standard stream, by whatever name or link.
/// Where one is named `-` nothing else goes to standard output, and lines for people go to standard error.
///
/// # Errors
///
/// The first output that is none of its own, and what else it is.
pub fn apart(input: Option<&Metadata>, outputs: &[&Path]) -> Result<(), String> {
    let mut taken: Vec<(Identity, String)> = Vec::new();
    if let Some(input) = input.filter(|input| input.is_file()) {
        taken.push((Identity::of(input), "what is read".into()));
    }
    for (stream, what) in [(Standard::Output, "standard output"), (Standard::Error, "standard error")] {
        let there = stream.file().and_then(|file| file.metadata()).ok();
        if let Some(there) = there.filter(Metadata::is_file) {
            taken.push((Identity::of(&there), format!("{what}, too")));
        }
    }
    for path in outputs {
        let Some(identity) = Identity::at(path) else { continue };
        if let Some((_, what)) = taken.iter().find(|(known, _)| *known == identity) {
            return Err(format!("{}: this is {what}; name another file", path.display()));
        }
        taken.push((identity, "another output, too".into()));
    }
    if outputs.iter().any(|path| path.as_os_str() == STANDARD) {
        output::go_aside();
    }
    Ok(())
}

/// What makes two names one file: its number on its disk, or its place in a folder where no file is yet.
#[derive(Debug, PartialEq, Eq)]
enum Identity {
    Standard(Standard),
    File(u64, u64),
    Place(PathBuf),
}

impl Identity {
    fn of(file: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self::File(file.dev(), file.ino())
    }

    /// Nothing for a device, which many outputs may share: what goes there is gone, or has its reader's order.
    fn at(path: &Path) -> Option<Self> {
        use std::os::unix::fs::FileTypeExt as _;
        if let Some(standard) = Standard::named(path) {
            return Some(Self::Standard(standard));
        }
        match fs::metadata(path) {
            // A pipe has one reader, which could not tell two outputs apart.
            Ok(file) => (!file.file_type().is_char_device()).then(|| Self::of(&file)),
            Err(_) => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
                Some(Self::Place(fs::canonicalize(folder).ok()?.join(path.file_name()?)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_whole_or_not_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        let mut dropped = Output::create(&path).expect("a place");
        dropped.write_all(b"half").expect("room");
        assert!(!path.exists());
        drop(dropped);
        assert_eq!(names(folder.path()), Vec::<String>::new());
        write(&path, b"whole").expect("room");
        let mut again = Output::create(&path).expect("a place");
        again.write_all(b"hal").expect("room");
        again.flush().expect("room");
        assert_eq!(fs::read(&path).expect("the file"), b"whole");
        drop(again);
        assert_eq!((fs::read(&path).expect("the file"), names(folder.path())), (b"whole".to_vec(), vec!["a".into()]));
        write(&path, b"new").expect("room");
        assert_eq!(fs::read(&path).expect("the file"), b"new");
    }

    /// A new file gets what the umask leaves, an old one keeps what it had.
    #[test]
    fn permissions_are_those_of_a_file_that_is_simply_written() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let mode = |name: &str| fs::metadata(folder.path().join(name)).expect("the file").permissions().mode() & 0o777;
        fs::write(folder.path().join("plain"), b"").expect("room");
        write(&folder.path().join("ours"), b"").expect("room");
        assert_eq!(mode("ours"), mode("plain"));
        fs::set_permissions(folder.path().join("plain"), Permissions::from_mode(0o640)).expect("ours");
        write(&folder.path().join("plain"), b"new").expect("room");
        assert_eq!(mode("plain"), 0o640);
    }

    #[test]
    fn links_stay_and_devices_are_written_to() {
        let folder = tempfile::tempdir().expect("a folder");
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, b"old").expect("room");
        std::os::unix::fs::symlink(&target, &link).expect("a link");
        write(&link, b"new").expect("room");
        assert!(fs::symlink_metadata(&link).expect("the link").is_symlink());
        assert_eq!(fs::read(&target).expect("the file"), b"new");
        write(Path::new("/dev/null"), b"away").expect("it takes all");
        for (path, says) in [(folder.path().to_owned(), "directory"), (folder.path().join("no/where"), "No such file")]
        {
            let error = Output::create(&path).map(|_| ()).expect_err("no place");
            assert!(error.text.contains(says) && !error.text.contains(".part"), "{error:?}");
            assert!(error.text.starts_with(&path.display().to_string()), "{error:?}");
        }
    }

    #[test]
    fn one_file_under_two_names_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("input"), b"").expect("room");
        fs::hard_link(at("input"), at("hard")).expect("a link");
        std::os::unix::fs::symlink(at("input"), at("soft")).expect("a link");
        let input = fs::metadata(at("input")).expect("the file");
        for name in ["input", "hard", "soft", "../input"] {
            let path = if name == "../input" { folder.path().join("x").join(name) } else { at(name) };
            if name == "../input" {
                fs::create_dir(folder.path().join("x")).expect("a folder");
            }
            let refused = apart(Some(&input), &[&path]).expect_err("it is the input");
            assert!(refused.contains("what is read"), "{refused}");
        }
        assert!(apart(Some(&input), &[&at("new"), &at("./new")]).is_err(), "two outputs, one file");
        assert_eq!(
            apart(Some(&input), &[&at("new"), &at("other"), Path::new("/dev/null"), Path::new("/dev/null")]),
            Ok(())
        );
        assert_eq!(apart(None, &[&at("input")]), Ok(()));
        for name in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/stderr"] {
            let again = if name == "/dev/stderr" { "/dev/fd/2" } else { "/dev/stdout" };
            assert_eq!(apart(None, &[Path::new(name)]), Ok(()), "{name}");
            assert!(apart(None, &[Path::new(name), Path::new(again)]).is_err(), "{name} and {again}");
        }
        assert!(apart(None, &[Path::new("-"), Path::new("/dev/stdout")]).is_err(), "both are standard output");
        assert_eq!(apart(None, &[Path::new("/dev/stdout"), Path::new("/dev/stderr")]), Ok(()));
        std::os::unix::fs::symlink("/dev/stdout", at("out")).expect("a link");
        assert!(apart(None, &[&at("out"), Path::new("/dev/stdout")]).is_err(), "a link to standard output");
    }
}
