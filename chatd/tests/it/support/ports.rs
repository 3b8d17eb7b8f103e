//! Ports for processes that come and go.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Below the ports that the kernel gives to whoever asks for any (32768 to 60999, `ip_local_port_range` in ip(7)): no
/// connection and no other listener is given one while its process is not there yet, or not any more.
const FIRST: u32 = 12_000;
/// Some thirty times what a run of all tests takes.
const COUNT: u32 = 16_000;
/// So that test programs that run side by side begin far from each other.
const APART: u32 = 997;

/// An address of loopback that nobody listens on, and that no other test of this program is given.
pub fn free_address() -> SocketAddr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(APART);
    let mut tries = (0..COUNT).map(|_| {
        let port = FIRST + begin.wrapping_add(GIVEN.fetch_add(1, Relaxed)) % COUNT;
        SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).expect("FIRST + COUNT is a port")))
    });
    tries.find(|address| TcpListener::bind(address).is_ok()).expect("a free port")
}
