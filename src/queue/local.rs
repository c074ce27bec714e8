//! Which addresses are this machine's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Whether an address is one of this machine's, now. Nothing is sent to find that out: what goes to oneself comes from the same address, and the
/// system says by which address it would send. For [`Lookup::is_local`](mailwright_relay_policy::route::Lookup::is_local).
///
/// ```
/// assert!(mailwright::queue::is_local("127.0.0.1".parse()?));
/// assert!(!mailwright::queue::is_local("192.0.2.1".parse()?));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub fn is_local(address: IpAddr) -> bool {
    let address = address.to_canonical();
    // A call to 0.0.0.0 comes to this machine.
    if address.is_loopback() || address.is_unspecified() {
        return true;
    }
    let any = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let source = || {
        let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        socket.connect(SocketAddr::new(address, 25))?;
        socket.local_addr()
    };
    source().is_ok_and(|own| own.ip() == address)
}
