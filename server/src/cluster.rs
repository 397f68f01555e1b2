//! Several replicas in one process, on loopback, each on its own thread, over real sockets: for `hence up`,
//! for demonstrations and for tests.
//!
//! They share nothing but the process: what is true of them is true of processes on separate machines, but
//! for the clock. Each can be cut off, healed, killed and started again.

use crate::server::{Server, StartError};
use crate::settings::Settings;
use crate::wire;
use hence_core::{Address, ReplicaStatus};
use hence_transport::faulty::{Direction, Faults, Target};
use std::fmt;

/// The most replicas that one [`Cluster`] has: they are named a to z.
pub const REPLICAS_MAX: usize = 26;

/// An embedded cluster. Dropping it kills every replica.
#[derive(Debug)]
pub struct Cluster {
    members: Vec<Member>,
}

/// One replica of a [`Cluster`].
#[derive(Debug)]
pub struct Member {
    name: char,
    settings: Settings,
    faults: Faults,
    server: Option<Server>,
    cut: bool,
}

/// Why a [`Cluster`] did not do what was asked.
#[derive(Debug)]
pub enum ClusterError {
    /// Not 1 to [`REPLICAS_MAX`] replicas.
    Count(usize),
    /// No replica of this name.
    Unknown(char),
    /// It runs already.
    Running(char),
    /// It does not run.
    Stopped(char),
    /// It did not start.
    Start(StartError),
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count} replicas are not possible; 1 to {REPLICAS_MAX} are"),
            Self::Unknown(name) => write!(f, "there is no replica {name}"),
            Self::Running(name) => write!(f, "{name} runs already"),
            Self::Stopped(name) => write!(f, "{name} does not run; restart {name} starts it"),
            Self::Start(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ClusterError {}

impl Member {
    /// Its name, a to z.
    #[must_use]
    pub const fn name(&self) -> char {
        self.name
    }

    /// Where it is reached.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.settings.address
    }

    /// Is it cut off from all others?
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.cut
    }

    /// Does it run?
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.server.is_some()
    }

    /// Its state; `None` while it does not run.
    #[must_use]
    pub fn status(&self) -> Option<ReplicaStatus> {
        self.server.as_ref().and_then(Server::status)
    }

    fn start(&mut self) -> Result<(), ClusterError> {
        let server = Server::start_with(self.settings.clone(), wire::faulty(self.faults.clone()));
        self.server = Some(server.map_err(ClusterError::Start)?);
        Ok(())
    }
}

impl Cluster {
    /// Starts a replica at each of these addresses. `settings` makes the settings of one from its address and the list
    /// of all.
    ///
    /// # Errors
    /// [`ClusterError::Count`] or [`ClusterError::Start`]; then none runs.
    pub fn start(
        addresses: &[Address],
        settings: impl Fn(Address, Vec<Address>) -> Settings,
    ) -> Result<Self, ClusterError> {
        if addresses.is_empty() || addresses.len() > REPLICAS_MAX {
            return Err(ClusterError::Count(addresses.len()));
        }
        let member = |(name, address): (char, &Address)| Member {
            name,
            settings: settings(address.clone(), addresses.to_vec()),
            faults: Faults::new(u64::from(name)),
            server: None,
            cut: false,
        };
        let mut cluster = Self { members: ('a'..='z').zip(addresses).map(member).collect() };
        cluster.members.iter_mut().try_for_each(Member::start)?;
        Ok(cluster)
    }

    /// All replicas, in order of name.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Cuts every link of this replica, both ways. Clients still reach it.
    ///
    /// # Errors
    /// [`ClusterError::Unknown`].
    pub fn cut(&mut self, name: char) -> Result<(), ClusterError> {
        let member = self.member(name)?;
        member.faults.cut(Target::Everybody, Direction::Both);
        member.cut = true;
        Ok(())
    }

    /// Undoes [`Self::cut`].
    ///
    /// # Errors
    /// [`ClusterError::Unknown`].
    pub fn heal(&mut self, name: char) -> Result<(), ClusterError> {
        let member = self.member(name)?;
        member.faults.heal(Target::Everybody, Direction::Both);
        member.cut = false;
        Ok(())
    }

    /// Ends this replica as if its process had been killed; its memory is lost.
    ///
    /// # Errors
    /// [`ClusterError::Unknown`], [`ClusterError::Stopped`].
    pub fn kill(&mut self, name: char) -> Result<(), ClusterError> {
        let server = self.member(name)?.server.take();
        server.ok_or(ClusterError::Stopped(name)).map(Server::kill)
    }

    /// Starts this replica again, at its address, with empty memory. A cut stays a cut.
    ///
    /// # Errors
    /// [`ClusterError::Unknown`], [`ClusterError::Running`], [`ClusterError::Start`].
    pub fn restart(&mut self, name: char) -> Result<(), ClusterError> {
        let member = self.member(name)?;
        if member.server.is_some() {
            return Err(ClusterError::Running(name));
        }
        member.start()
    }

    fn member(&mut self, name: char) -> Result<&mut Member, ClusterError> {
        self.members.iter_mut().find(|member| member.name == name).ok_or(ClusterError::Unknown(name))
    }
}
