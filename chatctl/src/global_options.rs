//! Options that every command takes: where the servers are, which profile is used, and how the output looks.

use crate::output::OutputFormat;
use clap::Args;
use quorate_duration::parse_duration;
use std::{path::PathBuf, time::Duration};

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalOptions {
    /// Server to connect to, as host:port, or https://host:port for TLS; repeat, or separate with commas
    #[arg(
        long = "server",
        visible_alias = "servers",
        env = "QUORATE_SERVERS",
        value_delimiter = ',',
        value_name = "HOST:PORT",
        global = true
    )]
    pub servers: Vec<String>,
    /// PEM file with the authority of the servers' certificates; turns on TLS [default: the system's, for https://]
    #[arg(long, env = "QUORATE_CA_FILE", value_name = "PATH", global = true)]
    pub ca_file: Option<PathBuf>,
    /// Name expected in the servers' certificates [default: the host connected to]
    #[arg(long, env = "QUORATE_TLS_SERVER_NAME", value_name = "NAME", global = true)]
    pub tls_server_name: Option<String>,
    /// Also use the servers that the cluster itself lists
    #[arg(long, global = true)]
    pub discover: bool,
    /// Format of the output
    #[arg(long, value_enum, default_value_t, global = true)]
    pub output: OutputFormat,
    /// Name of the profile that stores servers and session
    #[arg(long, env = "QUORATE_PROFILE", default_value = "default", value_name = "NAME", global = true)]
    pub profile: String,
    /// File that stores the profiles [default: ~/.config/quorate/profiles.json]
    #[arg(long, env = "QUORATE_PROFILE_FILE", value_name = "PATH", global = true)]
    pub profile_file: Option<PathBuf>,
    /// Time limit for one call with all its attempts; 0s for no limit
    #[arg(long, value_parser = parse_duration, default_value = "60s", value_name = "DURATION", global = true)]
    pub timeout: Duration,
}
