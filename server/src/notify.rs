//! Tells a service manager how far the process is, where it asks for that (`sd_notify(3)`).

use std::ffi::OsStr;
use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::UnixDatagram;
use tracing::debug;

/// The replica listens.
pub(crate) const READY: &str = "READY=1";
/// It was told to end.
pub(crate) const STOPPING: &str = "STOPPING=1";

/// Tells this, if a service manager listens. Nothing depends on it.
pub(crate) fn tell(state: &str) {
    if let Some(socket) = std::env::var_os("NOTIFY_SOCKET")
        && let Err(error) = tell_at(&socket, state)
    {
        debug!(%error, "the service manager does not listen");
    }
}

/// A name that begins with `@` is in no folder.
fn tell_at(name: &OsStr, state: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    #[cfg(target_os = "linux")]
    if let Some(name) = name.as_encoded_bytes().strip_prefix(b"@") {
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        return socket.send_to_addr(state.as_bytes(), &address).map(drop);
    }
    socket.send_to(state.as_bytes(), name).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_hears_it_wherever_it_listens() {
        let name = format!("hence-notify-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let in_folder = UnixDatagram::bind(&path).unwrap();
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let in_none = UnixDatagram::bind_addr(&address).unwrap();
        for (socket, name) in [(in_folder, path.clone().into_os_string()), (in_none, format!("@{name}").into())] {
            tell_at(&name, READY).unwrap();
            let mut bytes = [0; 64];
            let count = socket.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..count], b"READY=1");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(tell_at(path.as_os_str(), STOPPING).is_err());
    }
}
