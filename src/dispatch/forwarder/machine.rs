//! Which addresses are those of this machine.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use rustix::io::Errno;

use crate::delivery::Fault;

/// No way leads to an address; the last two: this machine has none of that kind, such as without IPv6.
const NO_WAY: [Errno; 4] = [Errno::NETUNREACH, Errno::HOSTUNREACH, Errno::ADDRNOTAVAIL, Errno::AFNOSUPPORT];

/// Whether this machine has an address: to reach its own, the system sends from it. Nothing is sent.
///
/// # Errors
/// [`Fault::Local`] if the system does not say.
pub fn is_local(address: IpAddr) -> Result<bool, Fault> {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        Ok(socket.local_addr()?.ip())
    });
    is_reached_from_itself(address, source)
}

/// What it means that the system would send from `source` to reach `address`.
fn is_reached_from_itself(address: IpAddr, source: io::Result<IpAddr>) -> Result<bool, Fault> {
    source.map(|source| source == address).or_else(|error| match Errno::from_io_error(&error) {
        Some(error) if NO_WAY.contains(&error) => Ok(false),
        // Such as a want of descriptors.
        _ => {
            tracing::debug!(%address, %error, "not dialled: the system does not say whether it is this machine's");
            Err(Fault::Local)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_its_own_addresses_and_no_others() {
        let has = |text: &str| is_local(text.parse().expect(text));
        assert_eq!(
            [has("127.0.0.1"), has("192.0.2.1"), has("2001:db8::1")],
            [Ok(true), Ok(false), Ok(false)]
        );
    }

    #[test]
    fn an_address_that_no_way_leads_to_is_not_this_machines_and_other_errors_are_the_routers_own() {
        let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into();
        let judged = |error: Errno| is_reached_from_itself(address, Err(error.into()));
        for error in NO_WAY {
            assert_eq!(judged(error), Ok(false), "{error}");
        }
        for error in [Errno::MFILE, Errno::NOBUFS, Errno::ACCESS, Errno::INVAL] {
            assert_eq!(judged(error), Err(Fault::Local), "{error}");
        }
    }
}
