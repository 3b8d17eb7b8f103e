//! The command line: global options, and one variant per command.

use crate::{
    client::{Client, Options},
    commands::{self, cluster},
    duration,
    error::Error,
    output::{Format, Out},
    profile::{Profile, Store},
    session::Session,
    verify,
};
use clap::{Args, Parser, Subcommand};
use std::{path::PathBuf, time::Duration};

const EXAMPLES: &str = "\
Examples:
  chatctl --server chat.example.org:7400 register alice
  chatctl create ops --public
  chatctl send '#ops' 'hello'
  chatctl tail '#ops'
  chatctl --server a:7400,b:7400,c:7400 verify --duration 60s

Exit codes:
  0 done   2 wrong usage   3 refused   4 no session   5 unavailable   6 outcome unknown   7 local file
  10 verify found a broken promise   11 verify proved nothing   1 anything else";

/// Chat on a Quorate cluster, watch it, check its promises, and run it.
#[derive(Debug, Parser)]
#[command(name = "chatctl", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Server to talk to, as host:port; repeat it or separate by commas
    #[arg(
        long = "server",
        visible_alias = "servers",
        env = "QUORATE_SERVERS",
        value_delimiter = ',',
        value_name = "HOST:PORT",
        global = true
    )]
    pub servers: Vec<String>,
    /// Also use the servers that the cluster itself names
    #[arg(long, global = true)]
    pub discover: bool,
    /// Form of what is printed
    #[arg(long, value_enum, default_value_t, global = true)]
    pub output: Format,
    /// Name of the profile that keeps servers and session
    #[arg(long, env = "QUORATE_PROFILE", default_value = "default", value_name = "NAME", global = true)]
    pub profile: String,
    /// File that keeps the profiles [default: ~/.config/quorate/profiles.json]
    #[arg(long, env = "QUORATE_PROFILE_FILE", value_name = "PATH", global = true)]
    pub profile_file: Option<PathBuf>,
    /// Longest time for one call with all its attempts; 0s for no limit
    #[arg(long, value_parser = duration::parse, default_value = "60s", value_name = "DURATION", global = true)]
    pub timeout: Duration,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum Command {
    /// Make an account and sign in
    Register(commands::register::Command),
    /// Sign in
    Login(commands::login::Command),
    /// End the session
    Logout(commands::logout::Command),
    /// Show who is signed in
    Whoami(commands::whoami::Command),
    /// List rooms
    Rooms(commands::rooms::Command),
    /// Make a room
    Create(commands::create::Command),
    /// Join a room
    Join(commands::join::Command),
    /// Invite somebody to a room
    Invite(commands::invite::Command),
    /// Leave a room
    Leave(commands::leave::Command),
    /// Send a message, or each line of standard input
    Send(commands::send::Command),
    /// Print messages as they come, across the loss of any server
    Tail(commands::tail::Command),
    /// Print what was said in a room
    History(commands::history::Command),
    /// List the members of a room
    Members(commands::members::Command),
    /// List the servers of the cluster
    Servers(commands::servers::Command),
    /// Write and read under load, and check that nothing is lost, doubled or out of order
    Verify(verify::options::Command),
    /// Print a completion script for a shell
    Completions(commands::completions::Command),
    /// Set up and run a cluster (peer door, mutual TLS)
    Cluster(cluster::Command),
}

/// What a command works with.
#[derive(Debug, Clone)]
pub struct Context {
    /// Where it prints.
    pub out: Out,
    /// The global options as written.
    pub global: Global,
}

impl Context {
    /// From the global options.
    #[must_use]
    pub fn new(global: Global) -> Self {
        Self { out: Out::new(global.output), global }
    }

    /// The profile file. Looked for only when needed: `verify` and `cluster` run where there is no home directory.
    ///
    /// # Errors
    /// When no place for it can be found.
    pub fn store(&self) -> Result<Store, Error> {
        let path = self.global.profile_file.clone().map_or_else(Store::default_path, Ok)?;
        Ok(Store::new(path))
    }

    /// The chosen profile.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub fn profile(&self) -> Result<Profile, Error> {
        self.store()?.load(&self.global.profile)
    }

    /// How patient clients are.
    #[must_use]
    pub fn options(&self) -> Options {
        let limit = Some(self.global.timeout).filter(|limit| !limit.is_zero());
        Options { limit, ..Options::default() }
    }

    /// The servers of the command line, else of the environment, else of the profile.
    ///
    /// # Errors
    /// [`Error::NoServers`] when nobody names one.
    pub fn servers(&self) -> Result<Vec<String>, Error> {
        if self.global.servers.is_empty() { chosen(&self.profile()?.servers) } else { chosen(&self.global.servers) }
    }

    /// A client without a session.
    ///
    /// # Errors
    /// [`Error::NoServers`], or a usage error that names a bad address.
    pub fn client(&self) -> Result<Client, Error> {
        Client::new(&self.servers()?, self.options()).map_err(|e| Error::Usage(e.to_string()))
    }

    /// The session of the profile.
    ///
    /// # Errors
    /// [`Error::NoSession`] when nobody is signed in.
    pub async fn session(&self) -> Result<Session, Error> {
        let profile = self.profile()?;
        let none = || Error::NoSession { profile: self.global.profile.clone() };
        let token = profile.token.as_deref().ok_or_else(none)?;
        let session = Session::new(self.client()?, token).ok_or_else(none)?;
        if self.global.discover {
            session.learn_servers().await?;
        }
        Ok(session)
    }
}

fn chosen(named: &[String]) -> Result<Vec<String>, Error> {
    let servers: Vec<String> = named.iter().map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect();
    if servers.is_empty() { Err(Error::NoServers) } else { Ok(servers) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn servers_are_repeated_or_separated_by_commas_before_or_after_the_command() {
        let cli = Cli::try_parse_from(["chatctl", "whoami", "--server", "a:1,b:2", "--servers", "c:3"]).unwrap();
        assert_eq!(cli.global.servers, ["a:1", "b:2", "c:3"]);
        let cli = Cli::try_parse_from(["chatctl", "--server", "a:1", "--output", "json", "rooms"]).unwrap();
        assert_eq!((cli.global.servers, cli.global.output), (vec!["a:1".to_owned()], Format::Json));
    }

    #[test]
    fn every_command_shows_examples() {
        fn check(command: &clap::Command) {
            for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
                let shown = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(shown.contains("Examples:") && shown.contains("chatctl "), "{}", sub.get_name());
                assert!(!shown.contains("--password "), "{}", sub.get_name());
                check(sub);
            }
        }
        check(&Cli::command());
    }
}
