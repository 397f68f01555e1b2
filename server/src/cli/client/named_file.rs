//! A file that a user names, and what a command writes into it.
//!
//! A regular file appears, or is replaced, when its successor is whole. Its mode stays, and a link to it stays a link.
//! What is no regular file, such as a pipe or a device, is written straight into.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Links from one to the next, beyond which they count as a circle.
const LINKS_MAX: usize = 40;

/// Where a name leads.
#[derive(Debug)]
pub(super) enum NamedFile {
    /// To a regular file, or to none yet.
    Regular {
        path: PathBuf,
        /// Of the file that is there.
        permissions: Option<Permissions>,
    },
    /// To a pipe, a device or a socket.
    Other(PathBuf),
}

/// What is written.
#[derive(Debug)]
pub(super) enum Writing {
    Straight(File),
    /// A file beside the one that is to be, which it replaces at the end.
    Beside(File, Successor),
}

/// The path of a file that is to take the place of another. If it does not, it is removed.
#[derive(Debug)]
pub(super) struct Successor {
    new: PathBuf,
    path: PathBuf,
    has_its_place: bool,
}

impl NamedFile {
    /// Follows links, also to a file that is not there yet.
    ///
    /// # Errors
    /// Where they lead in a circle, or to a folder.
    pub(super) fn find(path: &Path) -> io::Result<Self> {
        let mut path = path.to_owned();
        for _ in 0..LINKS_MAX {
            match fs::metadata(&path) {
                Ok(found) if found.is_dir() => return Err(ErrorKind::IsADirectory.into()),
                Ok(found) if !found.is_file() => return Ok(Self::Other(path)),
                Ok(found) => {
                    return Ok(Self::Regular {
                        path: fs::canonicalize(&path)?,
                        permissions: Some(found.permissions()),
                    });
                }
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                Err(_) => {}
            }
            if !fs::symlink_metadata(&path).as_ref().is_ok_and(Metadata::is_symlink) {
                return Ok(Self::Regular { path, permissions: None });
            }
            // From the folder of the link.
            let to = fs::read_link(&path)?;
            path = path.parent().map_or_else(|| to.clone(), |folder| folder.join(&to));
        }
        Err(io::Error::other("its links lead to no end"))
    }

    /// Begins to write. A pipe waits for its reader.
    ///
    /// # Errors
    /// Where that cannot be written.
    pub(super) fn write(&self) -> io::Result<Writing> {
        let (path, permissions) = match self {
            Self::Other(path) => return File::options().write(true).open(path).map(Writing::Straight),
            Self::Regular { path, permissions } => (path, permissions),
        };
        let successor = Successor { new: beside(path, "new"), path: path.clone(), has_its_place: false };
        // What a command left that was killed.
        match fs::remove_file(&successor.new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let file = created(&successor.new, permissions.is_some())?;
        if let Some(permissions) = permissions {
            file.set_permissions(permissions.clone())?;
        }
        Ok(Writing::Beside(file, successor))
    }
}

/// A new file. One that gets the mode of another is closed to others until then.
fn created(path: &Path, is_closed: bool) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if is_closed {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    options.open(path)
}

impl Writing {
    /// Something stands beside the file until the end.
    pub(super) const fn is_beside(&self) -> bool {
        match self {
            Self::Straight(_) => false,
            Self::Beside(..) => true,
        }
    }

    /// The file is whole.
    ///
    /// # Errors
    /// Where it cannot take its place. The file before it is as it was then.
    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Straight(_) => Ok(()),
            Self::Beside(_, mut successor) => {
                fs::rename(&successor.new, &successor.path)?;
                successor.has_its_place = true;
                Ok(())
            }
        }
    }
}

impl Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Straight(file) | Self::Beside(file, _) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Straight(file) | Self::Beside(file, _) => file.flush(),
        }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.has_its_place {
            // No task is left to hear of it.
            let _ = fs::remove_file(&self.new);
        }
    }
}

/// A path with this ending beside it.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}
