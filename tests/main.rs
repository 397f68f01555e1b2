//! Tests across the packages of hence.

mod agreement;
mod api_page;
mod budgets;
mod golden;
mod judge;
mod naive;
mod openapi;
mod provenance;
mod sim;
mod tidy;
mod transfer;
