//! A file that has no name before it is whole.
//!
//! On Linux it lies nowhere until then, so whatever ends the process leaves nothing of it. Where a file must replace
//! another, it has a name of its own between two calls of the system. Elsewhere, and on disks that keep no file without
//! a name, it has such a name from the beginning.

use std::fs::{File, Permissions};
use std::io::{Error, ErrorKind};
use std::path::Path;
use tempfile::NamedTempFile;

/// A file that is being written beside its place. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Part(Place);

#[derive(Debug)]
enum Place {
    #[cfg(target_os = "linux")]
    Nameless(File),
    Named(NamedTempFile),
}

impl Part {
    /// A file that is to have this name. It has these permissions, or those of any new file.
    ///
    /// # Errors
    ///
    /// Where no file can be made in the folder.
    pub fn beside(path: &Path, permissions: Option<Permissions>) -> std::io::Result<Self> {
        #[cfg(target_os = "linux")]
        if let Some(file) = nameless::create(folder(path)) {
            permissions.map_or(Ok(()), |permissions| file.set_permissions(permissions))?;
            return Ok(Self(Place::Nameless(file)));
        }
        let (folder, builder) = (folder(path), prefix(path)?);
        let named = match permissions {
            None => builder_of(&builder).permissions(new_file()).tempfile_in(folder).map_err(unnamed)?,
            Some(permissions) => {
                let file = builder_of(&builder).tempfile_in(folder).map_err(unnamed)?;
                file.as_file().set_permissions(permissions)?;
                file
            }
        };
        Ok(Self(Place::Named(named)))
    }

    /// The file itself. Errors of it name no file.
    pub fn file(&self) -> &File {
        match &self.0 {
            #[cfg(target_os = "linux")]
            Place::Nameless(file) => file,
            Place::Named(file) => file.as_file(),
        }
    }

    /// Gives the file its name, whatever had it before.
    ///
    /// # Errors
    ///
    /// What the system says; the file is gone then, and what had the name still has it.
    pub fn replace(self, path: &Path) -> std::io::Result<()> {
        match self.settle(path) {
            Err((error, part)) if error.kind() == ErrorKind::AlreadyExists => part.rename(path),
            Err((error, _)) => Err(error),
            Ok(()) => Ok(()),
        }
    }

    /// Gives the file a name that nothing has.
    ///
    /// # Errors
    ///
    /// What the system says, and the file, which may be given another name.
    pub fn settle(self, path: &Path) -> Result<(), (Error, Self)> {
        match self.0 {
            #[cfg(target_os = "linux")]
            Place::Nameless(file) => nameless::link(&file, path).map_err(|error| (error, Self(Place::Nameless(file)))),
            Place::Named(file) => match file.persist_noclobber(path) {
                Ok(_) => Ok(()),
                Err(failed) => Err((failed.error, Self(Place::Named(failed.file)))),
            },
        }
    }

    fn rename(self, path: &Path) -> std::io::Result<()> {
        let renamed = match self.0 {
            #[cfg(target_os = "linux")]
            Place::Nameless(file) => {
                let link = |name: &Path| nameless::link(&file, name);
                let named = builder_of(&prefix(path)?).make_in(folder(path), link).map_err(unnamed)?;
                return named.persist(path).map_err(|failed| failed.error);
            }
            Place::Named(file) => file.persist(path),
        };
        renamed.map(drop).map_err(|failed| failed.error)
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// How the name begins that a file has until it is whole.
fn prefix(path: &Path) -> std::io::Result<std::ffi::OsString> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    Ok(prefix)
}

fn builder_of(prefix: &std::ffi::OsStr) -> tempfile::Builder<'_, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).suffix(".part");
    builder
}

/// What the system said, without the name of a file that no user has heard of. `tempfile` appends that name, and does
/// not hand out the error within.
fn unnamed(error: Error) -> Error {
    let text = error.to_string();
    match text.split_once(" at path ") {
        Some((said, _)) => Error::new(error.kind(), said),
        None => error,
    }
}

/// What the umask leaves of this is what any new file gets.
fn new_file() -> Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(NEW_FILE)
}

const NEW_FILE: u32 = 0o666;

/// Files without a name, which Linux alone has.
#[cfg(target_os = "linux")]
mod nameless {
    use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
    use std::fs::File;
    use std::os::fd::AsRawFd as _;
    use std::path::{Path, PathBuf};

    /// A file in this folder; nothing where it cannot be made, or could not be named later.
    pub(super) fn create(folder: &Path) -> Option<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = File::from(open(folder, flags, Mode::from_raw_mode(super::NEW_FILE)).ok()?);
        handle(&file).exists().then_some(file)
    }

    pub(super) fn link(file: &File, path: &Path) -> std::io::Result<()> {
        Ok(linkat(CWD, handle(file), CWD, path, AtFlags::SYMLINK_FOLLOW)?)
    }

    /// A name that leads to an open file.
    fn handle(file: &File) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write as _;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Both kinds of files: as the disk has them, and with a name from the beginning.
    const KINDS: [fn(&Path) -> Part; 2] = [
        |path| Part::beside(path, None).expect("room"),
        |path| Part(Place::Named(builder_of(&prefix(path).expect("a name")).tempfile_in(folder(path)).expect("room"))),
    ];

    #[test]
    fn nothing_has_a_name_before_it_is_whole() {
        let here = tempfile::tempdir().expect("a folder");
        let path = here.path().join("a");
        let part = Part::beside(&path, None).expect("room");
        part.file().write_all(b"half").expect("room");
        let is_named = matches!(part.0, Place::Named(_));
        assert_eq!(names(here.path()).is_empty(), !is_named, "whatever ends the process leaves nothing");
        drop(part);
        for (at, make) in KINDS.iter().enumerate() {
            let part = make(&path);
            part.file().write_all(&[b'0' + at as u8]).expect("room");
            part.replace(&path).expect("it is ours");
            assert_eq!(fs::read(&path).expect("the file"), [b'0' + at as u8]);
            assert_eq!(names(here.path()), ["a"]);
        }
    }

    /// A name that is taken stays with what has it, and the file may have another.
    #[test]
    fn a_name_that_is_taken_is_told() {
        let here = tempfile::tempdir().expect("a folder");
        let (path, other) = (here.path().join("a"), here.path().join("b"));
        fs::write(&path, b"old").expect("room");
        for make in KINDS {
            let part = make(&path);
            part.file().write_all(b"new").expect("room");
            let (error, part) = part.settle(&path).expect_err("the name is taken");
            assert_eq!((error.kind(), fs::read(&path).expect("the file")), (ErrorKind::AlreadyExists, b"old".to_vec()));
            part.settle(&other).expect("nothing has it");
            assert_eq!(fs::read(&other).expect("the file"), b"new");
            assert_eq!(names(here.path()), ["a", "b"]);
            fs::remove_file(&other).expect("it is ours");
        }
    }
}
