//! How much memory this process may take, and what each part of it gets (decisions 0088 and 0089).

mod cgroup;
mod shares;

pub(crate) use shares::Shares;

use crate::exposition::{Exposition, Kind};
use crate::settings::{SettingError, parse_bytes, show_bytes};
use hence_core::MemoryUse;
use std::fmt;
use std::path::Path;

/// Less is not enough to run at all.
const LEAST: u64 = 16 << 20;

/// What `HENCE_MEMORY_MAX` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryMax {
    /// Take what there is.
    None,
    /// Take so many bytes.
    Bytes(u64),
}

impl MemoryMax {
    /// Reads the setting.
    ///
    /// # Errors
    /// [`SettingError`] for what is neither `none` nor a number of bytes.
    pub(crate) fn parse(text: &str) -> Result<Self, SettingError> {
        if text == "none" {
            return Ok(Self::None);
        }
        let bytes = parse_bytes("HENCE_MEMORY_MAX", text, LEAST, u64::MAX).map(Self::Bytes);
        bytes.map_err(|error| SettingError { allowed: format!("\"none\", or {}", error.allowed), ..error })
    }
}

/// The one number, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limit {
    /// The number; none where nothing limits this process.
    pub(crate) bytes: Option<u64>,
    source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// The operator said so.
    Setting,
    /// The file that says what the container may take.
    Cgroup(String),
    /// Nothing was said, and no file says anything.
    Nowhere,
}

impl Limit {
    /// What the setting says; if it says nothing, what the container may take.
    pub(crate) fn find(setting: Option<MemoryMax>) -> Self {
        Self::find_below(setting, Path::new("/"))
    }

    fn find_below(setting: Option<MemoryMax>, root: &Path) -> Self {
        match setting {
            Some(MemoryMax::None) => Self { bytes: None, source: Source::Setting },
            Some(MemoryMax::Bytes(bytes)) => Self { bytes: Some(bytes), source: Source::Setting },
            None => match cgroup::limit(root) {
                Some((bytes, file)) => Self { bytes: Some(bytes), source: Source::Cgroup(file) },
                None => Self { bytes: None, source: Source::Nowhere },
            },
        }
    }

    /// Is it too little to run well?
    pub(crate) fn is_too_little(&self) -> bool {
        self.bytes.is_some_and(|bytes| bytes < LEAST)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes {
            Some(bytes) => f.write_str(&show_bytes(bytes))?,
            None => f.write_str("no limit")?,
        }
        match &self.source {
            Source::Setting => f.write_str(", from HENCE_MEMORY_MAX"),
            Source::Cgroup(file) => write!(f, ", from {file}"),
            Source::Nowhere => f.write_str(": the container sets none"),
        }
    }
}

/// Bytes of this process that are in memory, where that can be told.
fn resident() -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        let pages = procfs::process::Process::myself().ok()?.statm().ok()?.resident;
        Some(pages * procfs::page_size())
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// What clients make a replica hold beside data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clients {
    /// Bytes of bodies that are being read.
    pub(crate) bodies: usize,
    /// Bytes that only answers hold.
    pub(crate) answers: usize,
    /// What both may hold.
    pub(crate) bytes_max: usize,
    /// Clients whose connections were ended because they took such answers too slowly.
    pub(crate) ended: u64,
}

/// Writes what is held, and what may be.
pub(crate) fn expose(max: Option<u64>, data: &MemoryUse, clients: Clients, into: &mut Exposition) {
    let known = |bytes: u64| (bytes != u64::MAX).then_some(bytes);
    let limits = [
        ("process", max),
        ("data", known(data.max)),
        ("writes", known(data.writes_max).filter(|_| data.max != u64::MAX)),
        ("bodies", known(clients.bytes_max as u64)),
    ];
    const LIMIT: &str = "hence_memory_limit_bytes";
    into.family(
        LIMIT,
        Kind::Gauge,
        "What may be held: by the process, by data, by the store before writes that add are refused, by bodies and answers.",
    );
    for (part, bytes) in limits {
        if let Some(bytes) = bytes {
            into.sample(LIMIT, &[("of", part)], bytes);
        }
    }
    const HELD: &str = "hence_memory_bytes";
    into.family(HELD, Kind::Gauge, "What is held, by part, what allocators add included.");
    let parts = [
        ("store", data.store),
        ("log", data.log),
        ("causal_buffer", data.causal_buffer),
        ("blocked", data.blocked),
        ("transfer", data.transfer),
        ("bodies", clients.bodies as u64),
        ("answers", clients.answers as u64),
    ];
    for (part, bytes) in parts {
        into.sample(HELD, &[("part", part)], bytes);
    }
    if let Some(resident) = resident() {
        into.gauge("hence_memory_resident_bytes", "Bytes of this process that are in memory.", resident);
    }
    into.counter(
        "hence_memory_readers_ended_total",
        "Connections that were ended because their clients took answers slowly that nothing else held any more.",
        clients.ended,
    );
    into.gauge(
        "hence_memory_refuses_writes",
        "1 while writes that add are refused for want of memory.",
        u64::from(data.refuses_writes),
    );
    into.gauge(
        "hence_memory_held_back",
        "1 while what other replicas have does not fit here.",
        u64::from(data.held_back),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_goes_before_the_container() {
        let setting = |text| Limit::find(Some(MemoryMax::parse(text).unwrap()));
        assert_eq!(setting("64MiB").bytes, Some(64 << 20));
        assert_eq!(setting("64MiB").to_string(), "64MiB, from HENCE_MEMORY_MAX");
        assert_eq!(setting("none").to_string(), "no limit, from HENCE_MEMORY_MAX");
        let error = MemoryMax::parse("1MiB").unwrap_err().to_string();
        assert!(
            error.starts_with("HENCE_MEMORY_MAX is \"1MiB\"; it must be \"none\", or a number of bytes"),
            "{error}"
        );
        assert!(MemoryMax::parse("all").is_err());
        let nowhere = Limit::find_below(None, Path::new("/nowhere"));
        assert_eq!(nowhere.to_string(), "no limit: the container sets none");
    }
}
