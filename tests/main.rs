//! Tests across the packages of hence.

mod budgets;
mod golden;
mod naive;
mod sim;
mod tidy;
