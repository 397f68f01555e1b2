//! Tests across the packages of hence.

mod golden;
mod sim;
mod tidy;
