//! Command line: `chatd [serve]`, `chatd config`, `chatd metrics-reference`, `chatd version`. Every key of the
//! configuration is also a flag.

use crate::config::written::WrittenConfig;
use crate::config::{self, Config, ConfigError, ConfigKey, HostEnvironment, KEYS, reference};
use crate::metrics;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::{env, fs};

/// Flag with the path of the configuration file; not itself a key of the configuration.
const FILE: &str = "config";
/// Environment variable with the pod's IP: `status.podIP` from the Kubernetes downward API.
const POD_IP: &str = "QUORATE_POD_IP";

/// Flags of all keys. Static, because the grammar borrows them for as long as the process lives.
static FLAGS: LazyLock<Vec<String>> = LazyLock::new(|| KEYS.iter().map(ConfigKey::flag).collect());

/// Task that the command line asks for.
pub enum CliTask {
    /// Run a pod with this configuration.
    Serve(Box<Config>),
    /// Print this text and exit.
    Print(String),
}

/// Returns the grammar of the command line.
#[must_use]
pub fn command_line() -> Command {
    let config = Command::new("config")
        .about("Print the effective configuration")
        .arg(
            Arg::new("output")
                .long("output")
                .value_parser(["yaml", "json"])
                .default_value("yaml")
                .help("Output format"),
        )
        .arg(
            Arg::new("reference")
                .long("reference")
                .action(ArgAction::SetTrue)
                .help("Print the reference of all keys as Markdown instead"),
        );
    let file = Arg::new(FILE)
        .long(FILE)
        .env("QUORATE_CONFIG")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .global(true)
        .help("Configuration file in YAML");
    let keys = KEYS.iter().zip(FLAGS.iter()).map(|(key, flag)| {
        Arg::new(key.path).long(flag.as_str()).value_name("VALUE").global(true).help(format!(
            "{} [{}]",
            key.meaning,
            key.env()
        ))
    });
    Command::new("chatd")
        .about("One pod of a Quorate chat cluster")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand(Command::new("serve").about("Run the pod (default)"))
        .subcommand(config)
        .subcommand(Command::new("metrics-reference").about("Print the list of all metrics as Markdown"))
        .subcommand(Command::new("version").about("Print the version"))
        .arg(file)
        .args(keys)
}

/// Returns the task that the command line asks for.
///
/// # Errors
/// Returns an error if there is no valid configuration.
pub fn parse_task(matches: &ArgMatches) -> Result<CliTask, ConfigError> {
    match matches.subcommand() {
        Some(("version", _)) => Ok(CliTask::Print(format!("chatd {}\n", env!("CARGO_PKG_VERSION")))),
        Some(("metrics-reference", _)) => Ok(CliTask::Print(metrics::metrics_reference())),
        Some(("config", config)) if config.get_flag("reference") => Ok(CliTask::Print(reference::config_reference())),
        Some(("config", config)) => {
            let resolved = load_config(config)?;
            let as_json = config.get_one::<String>("output").is_some_and(|output| output == "json");
            Ok(CliTask::Print(format_config(&resolved, as_json)))
        }
        Some((_, serve)) => load_config(serve).map(|config| CliTask::Serve(Box::new(config))),
        None => load_config(matches).map(|config| CliTask::Serve(Box::new(config))),
    }
}

fn load_config(matches: &ArgMatches) -> Result<Config, ConfigError> {
    let mut written = WrittenConfig::default();
    if let Some(path) = matches.get_one::<PathBuf>(FILE) {
        written.add_file(path)?;
    }
    written.add_environment(|name| env::var(name).ok());
    for key in KEYS {
        if let Some(value) = matches.get_one::<String>(key.path) {
            written.add_flag(key, value.clone());
        }
    }
    config::resolve_config(&written, &host_environment())
}

fn host_environment() -> HostEnvironment {
    let from_kernel = || fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    let named = |name: &String| !name.is_empty();
    let host_name = from_kernel().filter(named).or_else(|| env::var("HOSTNAME").ok().filter(named));
    HostEnvironment {
        host_name: host_name.unwrap_or_else(|| "localhost".into()),
        pod_ip: env::var(POD_IP).ok().filter(named),
    }
}

fn format_config(config: &Config, as_json: bool) -> String {
    let value = config.to_json();
    // The value consists of maps, strings and numbers only, so neither output format can fail.
    if as_json { format!("{value:#}\n") } else { serde_yaml_ng::to_string(&value).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(args: &[&str]) -> Result<Config, String> {
        let matches = command_line().try_get_matches_from(args).map_err(|e| e.to_string())?;
        match parse_task(&matches).map_err(|e| e.to_string())? {
            CliTask::Serve(config) => Ok(*config),
            CliTask::Print(text) => Err(text),
        }
    }

    #[test]
    fn the_grammar_holds_together() {
        command_line().debug_assert();
    }

    #[test]
    fn flags_are_taken_before_and_after_the_word_serve() {
        for args in [
            &["chatd", "--server-name", "a.org", "--rate-limit-enabled", "false"][..],
            &["chatd", "serve", "--server-name", "a.org", "--rate-limit-enabled", "false"],
            &["chatd", "--server-name", "a.org", "serve", "--rate-limit-enabled", "false"],
        ] {
            let config = config(args).unwrap();
            assert!(config.server_name == "a.org" && !config.rate_limit.enabled, "{args:?}");
        }
    }

    #[test]
    fn what_config_prints_names_every_key() {
        let text = config(&["chatd", "config", "--server-name", "a.org"]).unwrap_err();
        assert!(text.contains("heartbeatInterval: 50ms"), "{text}");
        let text = config(&["chatd", "config", "--output", "json", "--server-name", "a.org"]).unwrap_err();
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }
}
