//! Nets of a scope.

use std::fmt;
use std::net::IpAddr;

/// Addresses that begin with the same bits; the others are zero, as libpcap demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Net {
    address: IpAddr,
    prefix: u8,
}

impl Net {
    /// Reads `10.0.0.0/8`, or an address, which is a net of one. The error is what to write instead.
    pub(crate) fn parse(text: &str) -> Result<Net, String> {
        let example = || "write it like 10.0.0.0/8, 2001:db8::/32, or 192.0.2.1".to_owned();
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| example())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| example())?,
            None => width,
        };
        if prefix > width {
            return Err(format!("the prefix is at most {width}"));
        }
        let net = Net { address: masked(address, prefix), prefix };
        if net.address == address { Ok(net) } else { Err(format!("write {net}")) }
    }

    /// Whether an address lies in it.
    #[cfg(test)]
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.prefix) == self.address
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & mask).into())
        }
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nets_are_read_and_mistakes_told() {
        for (text, expected) in [
            ("10.0.0.0/8", Ok("10.0.0.0/8")),
            ("192.0.2.1", Ok("192.0.2.1/32")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("2001:db8::/32", Ok("2001:db8::/32")),
            ("::1", Ok("::1/128")),
            ("::/0", Ok("::/0")),
            ("10.1.2.3/8", Err("write 10.0.0.0/8")),
            ("10.0.0.0/33", Err("the prefix is at most 32")),
            ("10/8", Err("write it like 10.0.0.0/8, 2001:db8::/32, or 192.0.2.1")),
            ("10.0.0.0/8) or (ip", Err("write it like 10.0.0.0/8, 2001:db8::/32, or 192.0.2.1")),
        ] {
            let net = Net::parse(text).map(|net| net.to_string());
            assert_eq!(net.as_deref().map_err(String::as_str), expected, "{text}");
        }
    }
}
