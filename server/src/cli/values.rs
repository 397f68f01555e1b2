//! Reads the values of settings, and says what a wrong one should have been.

use crate::settings::{SettingError, parse_address, parse_bytes, parse_number, parse_time};
use hence_core::{Address, Micros};
use std::net::SocketAddr;
use std::time::Duration;

/// A length of time between these, in milliseconds.
pub(super) fn time(
    name: &'static str,
    least_millis: u64,
    most_millis: u64,
) -> impl Fn(&str) -> Result<Micros, SettingError> + Clone + Send + Sync + 'static {
    move |text| {
        let time = parse_time(name, text, Duration::from_millis(least_millis), Duration::from_millis(most_millis))?;
        Ok(Micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// A number of bytes between these.
pub(super) fn bytes(
    name: &'static str,
    least: u64,
    most: u64,
) -> impl Fn(&str) -> Result<u64, SettingError> + Clone + Send + Sync + 'static {
    move |text| parse_bytes(name, text, least, most)
}

/// A number between these.
pub(super) fn number(
    name: &'static str,
    least: u64,
    most: u64,
) -> impl Fn(&str) -> Result<u64, SettingError> + Clone + Send + Sync + 'static {
    move |text| parse_number(name, text, least, most)
}

/// An address of a replica.
pub(super) fn address(
    name: &'static str,
) -> impl Fn(&str) -> Result<Address, SettingError> + Clone + Send + Sync + 'static {
    move |text| parse_address(name, text)
}

/// Where to listen.
pub(super) fn bind(text: &str) -> Result<SocketAddr, SettingError> {
    let bind = text.parse().ok().filter(|bind: &SocketAddr| bind.port() != 0 && !bind.ip().is_multicast());
    bind.ok_or_else(|| SettingError {
        name: "HENCE_BIND".into(),
        value: text.into(),
        allowed: "IP:PORT, such as 0.0.0.0:8090".into(),
    })
}
