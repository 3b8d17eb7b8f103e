//! Ports for processes that are stopped and started again.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// First port. The range lies below the ephemeral ports of the kernel (32768 to 60999, `ip_local_port_range` in ip(7)),
/// so that no connection and no other listener gets a port while its process is not running.
const FIRST: u32 = 12_000;
/// Number of ports: about thirty times what a run of all tests takes.
const COUNT: u32 = 16_000;
/// Factor that spreads the starting points of test programs that run side by side.
const APART: u32 = 997;

/// Returns a loopback address that nobody listens on, and that no other test of this program gets.
pub fn free_address() -> SocketAddr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(APART);
    let mut tries = (0..COUNT).map(|_| {
        let port = FIRST + begin.wrapping_add(GIVEN.fetch_add(1, Relaxed)) % COUNT;
        SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).expect("FIRST + COUNT is a port")))
    });
    tries.find(|address| TcpListener::bind(address).is_ok()).expect("a free port")
}
