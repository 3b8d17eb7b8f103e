//! The command line: global options, and one variant per command.

use crate::{
    client::{Client, Options, ServerTrust, TLS_SCHEME},
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
  chatctl --server https://chat.example.org:7400 --ca-file ca.crt login alice
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
    /// Server to talk to, as host:port, or https://host:port for TLS; repeat it or separate by commas
    #[arg(
        long = "server",
        visible_alias = "servers",
        env = "QUORATE_SERVERS",
        value_delimiter = ',',
        value_name = "HOST:PORT",
        global = true
    )]
    pub servers: Vec<String>,
    /// PEM file with the authority of the servers' certificates; TLS is spoken then [default: the system's, for https://]
    #[arg(long, env = "QUORATE_CA_FILE", value_name = "PATH", global = true)]
    pub ca_file: Option<PathBuf>,
    /// Name to expect in the servers' certificates [default: the host that is dialled]
    #[arg(long, env = "QUORATE_TLS_SERVER_NAME", value_name = "NAME", global = true)]
    pub tls_server_name: Option<String>,
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

    /// How patient clients of these servers are, and whom they believe.
    fn options(&self, servers: &[String], profile: Option<&Profile>) -> Result<Options, Error> {
        let limit = Some(self.global.timeout).filter(|limit| !limit.is_zero());
        Ok(Options { limit, trust: self.trust(servers, profile)?, ..Options::default() })
    }

    /// The authorities to believe where TLS is spoken: with an authority's file or an `https://` among the servers. A
    /// profile that speaks TLS does so with servers of the command line, too: its token must not go out in clear.
    ///
    /// # Errors
    /// Names the file that cannot be used.
    pub fn trust(&self, servers: &[String], profile: Option<&Profile>) -> Result<Option<ServerTrust>, Error> {
        let kept = profile.map(|profile| profile.servers.as_slice()).unwrap_or_default();
        let file = self.global.ca_file.as_deref().or_else(|| profile?.ca_file.as_deref());
        if file.is_none() && !servers.iter().chain(kept).any(|server| server.trim().starts_with(TLS_SCHEME)) {
            return Ok(None);
        }
        let name = self.global.tls_server_name.clone().or_else(|| profile?.tls_server_name.clone());
        ServerTrust::load(file, name).map(Some)
    }

    /// The servers of the command line, else of the environment, else of the profile.
    ///
    /// # Errors
    /// [`Error::NoServers`] when nobody names one.
    pub fn servers(&self) -> Result<Vec<String>, Error> {
        if self.global.servers.is_empty() { chosen(&self.profile()?.servers) } else { chosen(&self.global.servers) }
    }

    /// As [`Self::trust`], with the profile's authority where the servers are the profile's.
    ///
    /// # Errors
    /// As [`Self::trust`], and [`Store::load`].
    pub fn trust_of_servers(&self, servers: &[String]) -> Result<Option<ServerTrust>, Error> {
        self.trust(servers, self.profile_with_servers()?.as_ref())
    }

    /// The profile, where it says which servers to ask.
    fn profile_with_servers(&self) -> Result<Option<Profile>, Error> {
        if self.global.servers.is_empty() { self.profile().map(Some) } else { Ok(None) }
    }

    /// A client without a session.
    ///
    /// # Errors
    /// [`Error::NoServers`], or a usage error that names a bad address.
    pub fn client(&self) -> Result<Client, Error> {
        self.client_of(self.profile_with_servers()?.as_ref())
    }

    fn client_of(&self, profile: Option<&Profile>) -> Result<Client, Error> {
        let servers = self.servers()?;
        let options = self.options(&servers, profile)?;
        Client::new(&servers, options).map_err(|e| Error::Usage(e.to_string()))
    }

    /// The session of the profile.
    ///
    /// # Errors
    /// [`Error::NoSession`] when nobody is signed in.
    pub async fn session(&self) -> Result<Session, Error> {
        let profile = self.profile()?;
        let none = || Error::NoSession { profile: self.global.profile.clone() };
        let token = profile.token.as_deref().ok_or_else(none)?;
        let session = Session::new(self.client_of(Some(&profile))?, token).ok_or_else(none)?;
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
    use crate::admin::certificates;
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
    fn tls_is_spoken_with_all_servers_or_with_none() {
        let directory = tempfile::tempdir().unwrap();
        certificates::make(directory.path(), "c", &["a".into()], false).unwrap();
        let ca = directory.path().join("ca.crt");
        let context = |arguments: &[&str]| {
            let cli = Cli::try_parse_from([&["chatctl"], arguments, &["whoami"]].concat()).unwrap();
            Context::new(cli.global)
        };
        let addresses = |context: &Context, profile: Option<&Profile>| -> Vec<String> {
            let client = context.client_of(profile).unwrap();
            client.servers().all().iter().map(|slot| slot.address().to_owned()).collect()
        };
        let ca_file = ca.to_str().unwrap();
        let plain = context(&["--server", "a:1,b:1"]);
        assert_eq!(addresses(&plain, None), ["a:1", "b:1"]);
        let with_file = context(&["--server", "a:1,b:1", "--ca-file", ca_file]);
        assert_eq!(addresses(&with_file, None), ["https://a:1", "https://b:1"]);
        // A token that was given over TLS does not go out in clear.
        let profile = Profile { servers: vec!["https://c:1".into()], ca_file: Some(ca.clone()), ..Profile::default() };
        assert_eq!(addresses(&plain, Some(&profile)), ["https://a:1", "https://b:1"]);
        let servers = with_file.client_of(None).unwrap();
        assert!(!servers.servers().learn("b:1") && servers.servers().learn("c:1"));
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
