//! The contract, as tables, against real processes.

use crate::cluster::Cluster;
use crate::network::{self, Cut};
use hence_tests::tables::{self, CUT, Stage, TABLES};

impl Stage for Cluster {
    fn cut(&self, at: usize) {
        network::cut(&self.ip(at), Cut::Refused);
    }

    fn heal(&self, at: usize) {
        network::heal(&self.ip(at));
    }
}

/// Every table that needs no cut.
pub(crate) fn table() {
    let cluster = Cluster::running("contract", 3);
    let count: usize = TABLES.iter().map(|(name, text)| tables::run(&cluster, name, text)).sum();
    assert!(count > 100, "only {count} requests");
    println!("note: {count} requests of the contract");
}

/// What the contract says while a replica is cut off.
pub(crate) fn table_during_cuts() {
    let cluster = Cluster::running("contract_cuts", 3);
    tables::run(&cluster, "cut", CUT);
}
