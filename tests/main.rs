//! Tests across the packages of hence.

mod budgets;
mod golden;
mod sim;
mod tidy;
