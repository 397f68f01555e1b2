//! Tests across the packages of hence.
