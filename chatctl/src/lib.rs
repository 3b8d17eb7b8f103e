//! `chatctl` as a library: a client of `quorate.chat.v1` that survives the loss of any pod, with the commands and the
//! checker built on top of it.
//!
//! ```text
//! cli ─▶ dispatch ─▶ commands/* ─▶ session ─▶ client (which server, when to retry) ─▶ quorate.chat.v1
//!                              ├─▶ send, post, tail  each message until it is settled; each event once
//!                              ├─▶ verify            load ─▶ history ─▶ check (pure) ─▶ report
//!                              └─▶ admin             quorate.admin.v1 over mutual TLS
//! ```
//!
//! Only two crates of the workspace may be used here, `quorate-wire` and `quorate-duration`, the notation of its
//! options: what a client needs to know is in the `.proto` files or nowhere.

pub mod admin;
pub mod backoff;
pub mod cli;
pub mod client;
pub mod commands;
pub mod context;
pub mod dispatch;
pub mod error;
pub mod exit;
pub mod global_options;
pub mod output;
pub mod password;
pub mod position;
pub mod post;
pub mod profile;
pub mod screen;
pub mod send;
pub mod session;
pub mod tail;
pub mod verify;
