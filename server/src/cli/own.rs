//! Finds the replicas that run beside this command, and where they really listen.
//!
//! The kernel's own tables are asked, and not settings. A replica can be started with flags, with a host name, or bound
//! elsewhere. The command that asks for its health sees none of that. "Beside" means in the same container: with the
//! same mount and network namespace.

use std::net::SocketAddr;

/// A process that runs replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Own {
    /// Its id.
    pub(super) process: i32,
    /// Where it listens; nowhere while it starts or ends.
    pub(super) listens: Vec<SocketAddr>,
}

/// All of them. The first process of a container stands for all that it started.
pub(super) fn find() -> Vec<Own> {
    let mut found = linux::find();
    if found.iter().any(|own| own.process == 1) {
        found.retain(|own| own.process == 1);
    }
    found
}

#[cfg(target_os = "linux")]
mod linux {
    use super::Own;
    use procfs::net::TcpState;
    use procfs::process::{self, FDTarget, Namespaces, Process};
    use std::collections::BTreeSet;
    use std::ffi::{OsStr, OsString};
    use std::net::SocketAddr;

    /// What is not there, or not ours to look at, is left out.
    pub(super) fn find() -> Vec<Own> {
        let Ok(own) = Process::myself() else { return Vec::new() };
        let (Some(program), Ok(namespaces), Ok(all)) = (program(&own), own.namespaces(), process::all_processes())
        else {
            return Vec::new();
        };
        let runs_replicas = |other: &Process| {
            let arguments = other.cmdline().unwrap_or_default();
            matches!(arguments.get(1).map(String::as_str), Some("serve" | "up"))
                && self::program(other).as_deref() == Some(&program)
                && other.namespaces().is_ok_and(|its| are_shared(&its, &namespaces))
        };
        let found = all.filter_map(Result::ok).filter(runs_replicas);
        found.map(|process| Own { process: process.pid(), listens: listens(&process) }).collect()
    }

    /// The name of what runs, also where its file was replaced meanwhile.
    fn program(process: &Process) -> Option<OsString> {
        let path = process.exe().ok()?;
        let name = path.file_name()?.to_str()?;
        Some(name.strip_suffix(" (deleted)").unwrap_or(name).into())
    }

    fn are_shared(one: &Namespaces, other: &Namespaces) -> bool {
        ["mnt", "net"].iter().all(|kind| {
            let of = |all: &Namespaces| all.0.get(OsStr::new(kind)).map(|space| (space.device_id, space.identifier));
            of(one).is_some() && of(one) == of(other)
        })
    }

    fn listens(process: &Process) -> Vec<SocketAddr> {
        let descriptors = process.fd().into_iter().flatten().filter_map(Result::ok);
        let socket = |target| if let FDTarget::Socket(inode) = target { Some(inode) } else { None };
        let sockets: BTreeSet<u64> = descriptors.filter_map(|descriptor| socket(descriptor.target)).collect();
        // A kernel without IPv6 has no table of it.
        let table = process.tcp().unwrap_or_default().into_iter().chain(process.tcp6().unwrap_or_default());
        let own = table.filter(|entry| entry.state == TcpState::Listen && sockets.contains(&entry.inode));
        own.map(|entry| entry.local_address).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

#[cfg(not(target_os = "linux"))]
mod linux {
    /// Nothing that is asked here exists elsewhere.
    pub(super) fn find() -> Vec<super::Own> {
        Vec::new()
    }
}
