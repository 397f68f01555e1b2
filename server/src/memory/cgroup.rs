//! What the container may take, as the kernel tells it: control groups of version 1 and 2.
//!
//! A process is in one group of each hierarchy. Every group above it limits it as well, as far as the container sees them,
//! so the least of all counts. What is not there, or cannot be read, limits nothing.

/// The least limit that applies to this process, and the file that says it. `root` is where `/` is.
#[cfg(target_os = "linux")]
pub(super) use linux::limit;

#[cfg(not(target_os = "linux"))]
pub(super) fn limit(_: &std::path::Path) -> Option<(u64, String)> {
    None
}

#[cfg(target_os = "linux")]
mod linux {
    use procfs::process::{MountInfo, MountInfos};
    use procfs::{FromRead, ProcessCGroups};
    use std::fs;
    use std::path::{Path, PathBuf};

    /// Version 1 says "no limit" by the greatest number of whole pages.
    const NO_LIMIT: u64 = 1 << 60;

    pub(crate) fn limit(root: &Path) -> Option<(u64, String)> {
        let groups = ProcessCGroups::from_file(root.join("proc/self/cgroup")).ok()?.0;
        let mounts = MountInfos::from_file(root.join("proc/self/mountinfo")).ok()?.0;
        let mut found = Vec::new();
        for mount in mounts {
            let group = match mount.fs_type.as_str() {
                "cgroup2" => groups.iter().find(|group| group.hierarchy == 0),
                "cgroup" if mount.super_options.contains_key("memory") => {
                    groups.iter().find(|group| group.controllers.iter().any(|name| name == "memory"))
                }
                _ => None,
            };
            let Some(group) = group else { continue };
            for folder in folders(&mount, &group.pathname) {
                let files: &[&str] = if mount.fs_type == "cgroup2" {
                    &["memory.max", "memory.high"]
                } else {
                    &["memory.limit_in_bytes"]
                };
                found.extend(files.iter().filter_map(|file| read(root, &folder.join(file))));
                if mount.fs_type == "cgroup" {
                    found.extend(read_above(root, &folder.join("memory.stat")));
                }
            }
        }
        found.into_iter().min()
    }

    /// The folders of the process's own group and of those above it, as far as they are mounted.
    ///
    /// Without a name space of its own a container sees its group mounted as the root, under its full name.
    fn folders(mount: &MountInfo, group: &str) -> Vec<PathBuf> {
        let within = Path::new(group).strip_prefix(&mount.root).unwrap_or(Path::new(""));
        let is_plain = within.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        let within = if is_plain { within } else { Path::new("") };
        within.ancestors().map(|group| mount.mount_point.join(group)).collect()
    }

    fn below(root: &Path, file: &Path) -> PathBuf {
        root.join(file.strip_prefix("/").unwrap_or(file))
    }

    fn read(root: &Path, file: &Path) -> Option<(u64, String)> {
        let bytes: u64 = fs::read_to_string(below(root, file)).ok()?.trim().parse().ok()?;
        (bytes < NO_LIMIT).then(|| (bytes, file.display().to_string()))
    }

    /// Version 1 tells in the statistics what the groups above leave, those that are not mounted included.
    fn read_above(root: &Path, file: &Path) -> Option<(u64, String)> {
        let all = fs::read_to_string(below(root, file)).ok()?;
        let line = all.lines().find_map(|line| line.strip_prefix("hierarchical_memory_limit "))?;
        let bytes: u64 = line.trim().parse().ok()?;
        (bytes < NO_LIMIT).then(|| (bytes, file.display().to_string()))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::limit;
    use std::fs;
    use std::path::PathBuf;

    /// A root of files of its own, removed at the end.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str, cgroup: &str, mountinfo: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("hence-cgroup-{}-{name}", std::process::id()));
            let own = [("proc/self/cgroup", cgroup), ("proc/self/mountinfo", mountinfo)];
            for (file, text) in own.iter().chain(files) {
                let file = root.join(file);
                fs::create_dir_all(file.parent().expect("it lies in the root")).expect("the folder is ours");
                fs::write(file, text).expect("the folder is ours");
            }
            Self(root)
        }

        fn limit(&self) -> Option<(u64, String)> {
            limit(&self.0)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const V2: &str = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    const UNLIMITED: &str = "9223372036854771712\n";

    fn limit_from(bytes: u64, file: &str) -> Option<(u64, String)> {
        Some((bytes, file.to_owned()))
    }

    #[test]
    fn version_2_in_a_container_of_its_own_name_space() {
        let root = Root::new("v2", "0::/\n", V2, &[("sys/fs/cgroup/memory.max", "67108864\n")]);
        assert_eq!(root.limit(), limit_from(64 << 20, "/sys/fs/cgroup/memory.max"));
    }

    #[test]
    fn version_2_looks_at_the_groups_above() {
        let files = [
            ("sys/fs/cgroup/a/memory.max", "67108864\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("sys/fs/cgroup/a/b/c/memory.max", "134217728\n"),
            ("sys/fs/cgroup/other/memory.max", "1\n"),
        ];
        let root = Root::new("v2-above", "0::/a/b/c\n", V2, &files);
        assert_eq!(root.limit(), limit_from(64 << 20, "/sys/fs/cgroup/a/memory.max"));
        let high = Root::new("v2-high", "0::/\n", V2, &[("sys/fs/cgroup/memory.high", "99999744\n")]);
        assert_eq!(high.limit(), limit_from(99_999_744, "/sys/fs/cgroup/memory.high"));
    }

    #[test]
    fn no_limit_is_none() {
        assert_eq!(Root::new("v2-none", "0::/\n", V2, &[("sys/fs/cgroup/memory.max", "max\n")]).limit(), None);
        assert_eq!(Root::new("v2-nothing", "0::/\n", V2, &[]).limit(), None);
        assert_eq!(Root::new("odd", "what is this\n", "nor that\n", &[]).limit(), None);
        let v1 = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let files = [("sys/fs/cgroup/memory/memory.limit_in_bytes", UNLIMITED)];
        assert_eq!(Root::new("v1-none", "4:memory:/\n", v1, &files).limit(), None);
    }

    /// Docker with version 1 mounts the container's group as the root, and shows its full name to a process of the host's
    /// name space.
    #[test]
    fn version_1_by_either_name() {
        let mounted = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let files = [
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "67108864\n"),
            ("sys/fs/cgroup/memory/memory.stat", "cache 1\nhierarchical_memory_limit 67108864\n"),
        ];
        let file = "/sys/fs/cgroup/memory/memory.limit_in_bytes";
        for (name, group) in [("v1-full", "/docker/abc"), ("v1-own", "/"), ("v1-outside", "/../other")] {
            let root = Root::new(name, &format!("4:memory:{group}\n1:cpu:/x\n0::/\n"), mounted, &files);
            assert_eq!(root.limit(), limit_from(64 << 20, file), "{name}");
        }
        let whole = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let files = [
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", UNLIMITED),
            ("sys/fs/cgroup/memory/pod/memory.limit_in_bytes", "33554432\n"),
            ("sys/fs/cgroup/memory/pod/one/memory.limit_in_bytes", UNLIMITED),
        ];
        let root = Root::new("v1-above", "4:memory:/pod/one\n", whole, &files);
        assert_eq!(root.limit(), limit_from(32 << 20, "/sys/fs/cgroup/memory/pod/memory.limit_in_bytes"));
    }

    /// What is not mounted limits all the same, and the statistics tell.
    #[test]
    fn version_1_tells_of_groups_that_are_not_mounted() {
        let mounted = "35 31 0:32 /pod/one /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let files = [
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", UNLIMITED),
            ("sys/fs/cgroup/memory/memory.stat", "hierarchical_memory_limit 50331648\nrss 5\n"),
        ];
        let root = Root::new("v1-stat", "4:memory:/pod/one\n", mounted, &files);
        assert_eq!(root.limit(), limit_from(48 << 20, "/sys/fs/cgroup/memory/memory.stat"));
    }

    /// Both kinds are mounted at once on many machines; the empty one says nothing.
    #[test]
    fn both_versions_at_once() {
        let mounts = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let files = [("sys/fs/cgroup/memory/memory.limit_in_bytes", "67108864\n")];
        let root = Root::new("hybrid", "4:memory:/\n0::/\n", mounts, &files);
        assert_eq!(root.limit(), limit_from(64 << 20, "/sys/fs/cgroup/memory/memory.limit_in_bytes"));
    }
}
