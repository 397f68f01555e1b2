//! Tests across the packages of hence; see `main.rs`.
