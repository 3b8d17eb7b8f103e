//! Context of a command beside its own arguments: the output, the profile, and clients of the servers.

use crate::{
    client::{ClientOptions, ClusterClient, ServerTrust, TLS_SCHEME},
    error::Error,
    global_options::GlobalOptions,
    output::CommandOutput,
    profile::{Profile, ProfileStore},
    session::ClientSession,
};

/// Environment of a command: its output and the global options.
#[derive(Debug, Clone)]
pub struct CommandContext {
    /// Standard output in the chosen output format.
    pub out: CommandOutput,
    /// Global options as they were parsed.
    pub global: GlobalOptions,
}

impl CommandContext {
    /// Creates the context of a command from the global options.
    #[must_use]
    pub fn new(global: GlobalOptions) -> Self {
        Self { out: CommandOutput::new(global.output), global }
    }

    /// Returns the profile file. Its path is resolved only when needed: `verify` and `cluster` also run where there is
    /// no home directory.
    ///
    /// # Errors
    /// Returns an error if no path is given and none can be derived from the environment.
    pub fn store(&self) -> Result<ProfileStore, Error> {
        let path = self.global.profile_file.clone().map_or_else(ProfileStore::default_path, Ok)?;
        Ok(ProfileStore::new(path))
    }

    /// Loads the chosen profile.
    pub fn profile(&self) -> Result<Profile, Error> {
        self.store()?.load(&self.global.profile)
    }

    /// Returns the options of a client of these servers: its time limit and the authorities that it trusts.
    fn options(&self, servers: &[String], profile: Option<&Profile>) -> Result<ClientOptions, Error> {
        let limit = Some(self.global.timeout).filter(|limit| !limit.is_zero());
        Ok(ClientOptions { limit, trust: self.trust(servers, profile)?, ..ClientOptions::default() })
    }

    /// Returns the authorities to trust if TLS is used, which a CA file or an `https://` address among the servers
    /// turns on; `None` means clear text. A profile that uses TLS does so with servers of the command line, too: its
    /// token must not be sent in clear text.
    ///
    /// # Errors
    /// Returns an error that names the file that cannot be used.
    pub fn trust(&self, servers: &[String], profile: Option<&Profile>) -> Result<Option<ServerTrust>, Error> {
        let kept = profile.map(|profile| profile.servers.as_slice()).unwrap_or_default();
        let file = self.global.ca_file.as_deref().or_else(|| profile?.ca_file.as_deref());
        if file.is_none() && !servers.iter().chain(kept).any(|server| server.trim().starts_with(TLS_SCHEME)) {
            return Ok(None);
        }
        let name = self.global.tls_server_name.clone().or_else(|| profile?.tls_server_name.clone());
        Ok(Some(ServerTrust::load(file, name)?))
    }

    /// Returns the servers of the command line, else of the environment, else of the profile.
    ///
    /// # Errors
    /// [`Error::NoServers`] if none of them names a server.
    pub fn servers(&self) -> Result<Vec<String>, Error> {
        if self.global.servers.is_empty() {
            require_servers(&self.profile()?.servers)
        } else {
            require_servers(&self.global.servers)
        }
    }

    /// Returns the authorities as [`Self::trust`] does, with the profile's authority if the servers are the profile's.
    pub fn trust_of_servers(&self, servers: &[String]) -> Result<Option<ServerTrust>, Error> {
        self.trust(servers, self.profile_with_servers()?.as_ref())
    }

    /// Returns the profile if the servers are taken from it.
    fn profile_with_servers(&self) -> Result<Option<Profile>, Error> {
        if self.global.servers.is_empty() { self.profile().map(Some) } else { Ok(None) }
    }

    /// Creates a client without a session.
    ///
    /// # Errors
    /// [`Error::NoServers`], or a usage error that names an invalid address.
    pub fn client(&self) -> Result<ClusterClient, Error> {
        self.client_of(self.profile_with_servers()?.as_ref())
    }

    fn client_of(&self, profile: Option<&Profile>) -> Result<ClusterClient, Error> {
        let servers = self.servers()?;
        let options = self.options(&servers, profile)?;
        ClusterClient::new(&servers, options).map_err(|e| Error::Usage(e.to_string()))
    }

    /// Restores the session that is stored in the profile.
    ///
    /// # Errors
    /// [`Error::NoSession`] if nobody is signed in.
    pub async fn session(&self) -> Result<ClientSession, Error> {
        let profile = self.profile()?;
        let none = || Error::NoSession { profile: self.global.profile.clone() };
        let token = profile.token.as_deref().ok_or_else(none)?;
        let session = ClientSession::new(self.client_of(Some(&profile))?, token).ok_or_else(none)?;
        if self.global.discover {
            session.learn_servers().await?;
        }
        Ok(session)
    }
}

fn require_servers(named: &[String]) -> Result<Vec<String>, Error> {
    let servers: Vec<String> = named.iter().map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect();
    if servers.is_empty() { Err(Error::NoServers) } else { Ok(servers) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admin::certificates, cli::CommandLine};
    use clap::Parser as _;

    #[test]
    fn tls_is_spoken_with_all_servers_or_with_none() {
        let directory = tempfile::tempdir().unwrap();
        certificates::make_missing(directory.path(), "c", &["a".into()], false).unwrap();
        let ca = directory.path().join("ca.crt");
        let context = |arguments: &[&str]| {
            let cli = CommandLine::try_parse_from([&["chatctl"], arguments, &["whoami"]].concat()).unwrap();
            CommandContext::new(cli.global)
        };
        let addresses = |context: &CommandContext, profile: Option<&Profile>| -> Vec<String> {
            let client = context.client_of(profile).unwrap();
            client.servers().all().iter().map(|slot| slot.address().to_owned()).collect()
        };
        let ca_file = ca.to_str().unwrap();
        let plain = context(&["--server", "a:1,b:1"]);
        assert_eq!(addresses(&plain, None), ["a:1", "b:1"]);
        let with_file = context(&["--server", "a:1,b:1", "--ca-file", ca_file]);
        assert_eq!(addresses(&with_file, None), ["https://a:1", "https://b:1"]);
        // A token that was issued over TLS is not sent in clear text.
        let profile = Profile { servers: vec!["https://c:1".into()], ca_file: Some(ca.clone()), ..Profile::default() };
        assert_eq!(addresses(&plain, Some(&profile)), ["https://a:1", "https://b:1"]);
        let servers = with_file.client_of(None).unwrap();
        assert!(!servers.servers().learn("b:1") && servers.servers().learn("c:1"));
    }
}
