//! Server processes: started, killed and restarted, with their CPU time and memory as the kernel counts them.

use anyhow::{Context as _, bail};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for a server to become ready; ejabberd takes the most, a minute on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Interval between two checks of a condition.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Longest time for one check: a server that is restarting may accept a connection and never answer on it.
const ONE_LOOK: Duration = Duration::from_secs(10);
/// Unit of `/proc/PID/stat`: Linux reports 100 ticks per second to programs on every architecture (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Specification of a process, kept so that it can be restarted.
#[derive(Clone, Debug)]
pub(crate) struct ProcessSpec {
    name: String,
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(String, OsString)>,
    log: PathBuf,
}

impl ProcessSpec {
    /// Creates the specification of a program whose output goes to `NAME.log` in `dir`.
    pub(crate) fn new(name: &str, program: impl AsRef<OsStr>, dir: &Path) -> Self {
        let program = program.as_ref().to_owned();
        let log = dir.join(format!("{name}.log"));
        Self { name: name.to_owned(), program, args: Vec::new(), envs: Vec::new(), log }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub(crate) fn args(self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((key.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Starts the process.
    ///
    /// # Errors
    /// Fails if the program is missing, or if its log cannot be written.
    pub(crate) fn start(self) -> anyhow::Result<ServerProcess> {
        Ok(ServerProcess { child: self.spawn()?, spec: self })
    }

    fn spawn(&self) -> anyhow::Result<Child> {
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("cannot write {}", self.log.display()))?;
        Command::new(&self.program)
            .args(&self.args)
            .envs(self.envs.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot duplicate the log handle")?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))
    }
}

/// A running process, which is killed when dropped.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: Child,
    spec: ProcessSpec,
}

impl ServerProcess {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGKILL, and waits until the process is gone.
    ///
    /// # Errors
    /// Fails if the kernel refuses.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().with_context(|| format!("cannot kill {}", self.spec.name))?;
        self.child.wait().with_context(|| format!("cannot wait for {}", self.spec.name))?;
        Ok(())
    }

    /// Starts the process again after [`ServerProcess::kill`].
    ///
    /// # Errors
    /// Fails if the program is gone.
    pub(crate) fn restart(&mut self) -> anyhow::Result<()> {
        self.child = self.spec.spawn()?;
        Ok(())
    }

    /// Checks that the process is still running.
    ///
    /// # Errors
    /// Fails if it has ended; the error quotes the end of its log.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        let Some(status) = self.child.try_wait().context("cannot query a child process")? else { return Ok(()) };
        bail!("{} exited ({status}); end of its log:\n{}", self.spec.name, self.end_of_log(10))
    }

    fn end_of_log(&self, lines: usize) -> String {
        let log = fs::read_to_string(&self.spec.log).unwrap_or_default();
        let all: Vec<_> = log.lines().collect();
        all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Both fail only if the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `look` finds something, as long as all servers live.
///
/// # Errors
/// Fails if a server ends, or if nothing is found in time; the cause is the last error of `look`.
pub(crate) async fn poll_until<T, F: Future<Output = anyhow::Result<T>>>(
    what: &str,
    servers: &mut [ServerProcess],
    mut look: impl FnMut() -> F,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let error = match tokio::time::timeout(ONE_LOOK, look()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) => error,
            Err(_) => anyhow::anyhow!("no answer within {ONE_LOOK:?}"),
        };
        servers.iter_mut().try_for_each(ServerProcess::check)?;
        if Instant::now() > deadline {
            let logs: String =
                servers.iter().map(|server| format!("\n{}: {}", server.spec.name, server.end_of_log(3))).collect();
            return Err(
                error.context(format!("timed out after {PATIENCE:?} waiting until {what}; end of the logs:{logs}\n"))
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Runs a program to its end.
///
/// # Errors
/// Fails if the program is missing, or if it has not ended in time and was killed.
pub(crate) async fn capture_output(what: &str, command: &mut Command) -> anyhow::Result<Output> {
    let mut stdout = tempfile::tempfile()?;
    let mut stderr = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let program = command.get_program().to_owned();
    let child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
    let mut child = KillOnDrop(child);
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.0.try_wait().context("cannot query a child process")? {
            break status;
        }
        if Instant::now() > deadline {
            bail!("{} did not finish within {PATIENCE:?}: {what}", program.display());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    Ok(Output { status, stdout: read_all(&mut stdout)?, stderr: read_all(&mut stderr)? })
}

/// Reads everything that a program wrote to a file. A file has room for whatever it writes; a pipe would block the
/// program while nobody reads.
fn read_all(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut said = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut said)?;
    Ok(said)
}

/// Child process that is killed when this is dropped, so that it does not outlive its caller.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // Both fail only if the process is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns `N` free ports of the loopback interface. All are held until all are known, so that none is returned twice.
///
/// # Errors
/// Fails if no port is left.
pub(crate) fn free_ports<const N: usize>() -> anyhow::Result<[SocketAddr; N]> {
    let mut held = Vec::with_capacity(N);
    let mut ports = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for port in &mut ports {
        let listener = TcpListener::bind(*port).context("no free port available")?;
        *port = listener.local_addr().context("cannot determine the local address")?;
        held.push(listener);
    }
    Ok(ports)
}

/// Returns the CPU time that processes have used, user and system, in microseconds.
///
/// # Errors
/// Fails if a process has ended.
pub(crate) fn cpu_micros(servers: &[u32]) -> anyhow::Result<f64> {
    servers.iter().map(|pid| cpu_of(*pid)).sum()
}

fn cpu_of(pid: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} has exited"))?;
    let ticks = cpu_ticks(&stat).with_context(|| format!("cannot read {stat:?}"))?;
    Ok(ticks / TICKS_PER_SECOND * 1e6)
}

/// Returns `utime + stime`: fields 14 and 15, counted from behind the name, which may contain anything
/// (proc_pid_stat(5)).
fn cpu_ticks(stat: &str) -> Option<f64> {
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

/// Returns the resident memory of processes in KiB.
///
/// # Errors
/// Fails if a process has ended.
pub(crate) fn resident_kib(servers: &[u32]) -> anyhow::Result<f64> {
    servers.iter().map(|pid| resident_of(*pid)).sum()
}

fn resident_of(pid: u32) -> anyhow::Result<f64> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} has exited"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kib.with_context(|| format!("no VmRSS for process {pid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_a_name_with_spaces_and_brackets() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 100 0 0";
        assert_eq!(cpu_ticks(stat), Some(300.0));
    }

    #[tokio::test]
    async fn a_program_is_run_to_its_end_whatever_it_says() {
        let output =
            capture_output("sh counts", Command::new("sh").args(["-c", "seq 1 100000; echo no >&2; exit 3"])).await;
        let Output { status, stdout, stderr } = output.unwrap();
        assert_eq!((status.code(), stderr.as_slice()), (Some(3), &b"no\n"[..]));
        assert_eq!(stdout.iter().filter(|byte| **byte == b'\n').count(), 100_000);
    }

    #[test]
    fn the_test_itself_has_memory_and_free_ports_differ() {
        assert!(resident_kib(&[std::process::id()]).unwrap() > 100.0);
        let [a, b, c] = free_ports().unwrap();
        assert!(a != b && b != c && a != c);
    }
}
