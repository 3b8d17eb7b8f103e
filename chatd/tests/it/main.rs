//! Tests with processes of the real binary: one cluster of three nodes for each test, on loopback, with real
//! certificates.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod access;
mod accounts;
mod administration;
mod bad_input;
mod chat;
mod dehydrated;
mod device_settings;
mod endpoints;
mod ephemeral;
mod failover;
mod golden;
mod histories;
mod key_backup;
mod keys;
mod listeners;
mod logins;
mod logs;
mod metrics;
mod notifications;
mod push_gateway;
mod push_rules;
mod pushers;
mod rate_limits;
mod receipts;
mod relations;
mod rooms;
mod sessions;
mod start;
mod status;
mod storage;
mod stream;
mod support;
mod sync_tokens;
mod timeline;
mod to_device;
mod traces;
