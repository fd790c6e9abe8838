//! What is asked of the kernel about packets (`packet(7)`).

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Bytes of an interface's name in a request, the closing zero among them.
const NAME_LEN: usize = 16;

/// An instruction of the kernel's classic packet filter, as `linux/filter.h` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// Instructions to pass over when a test holds.
    pub jt: u8,
    /// And when it does not.
    pub jf: u8,
    /// Its number.
    pub k: u32,
}

/// A kind of interface (`ARPHRD_*`, `linux/if_arp.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hardware(pub u16);

impl Hardware {
    /// Ethernet.
    pub const ETHERNET: Hardware = Hardware(1);
    /// The loopback interface, whose packets look like Ethernet's.
    pub const LOOPBACK: Hardware = Hardware(772);
    /// An interface whose packets begin with an IP header.
    pub const NONE: Hardware = Hardware(0xfffe);
    /// 802.11 behind a radiotap header.
    pub const RADIOTAP: Hardware = Hardware(803);
}

/// What came since it was last asked.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Statistics {
    pub(super) packets: u32,
    pub(super) drops: u32,
    _freezes: u32,
}

/// `tpacket_req3`
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct RingRequest {
    block_size: u32,
    blocks: u32,
    frame_size: u32,
    frames: u32,
    retired_after: u32,
    private: u32,
    features: u32,
}

/// `packet_mreq`
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Membership {
    index: i32,
    kind: u16,
    address_length: u16,
    address: [u8; 8],
}

/// The part of an `ifreq` that is asked for here: a name, and the beginning of an address.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct HardwareRequest {
    name: [u8; NAME_LEN],
    family: u16,
    rest: [u8; 22],
}

/// A packet socket.
#[derive(Debug)]
pub(super) struct PacketSocket(OwnedFd);

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl PacketSocket {
    /// A socket to which nothing comes yet: it is bound to no protocol.
    pub(super) fn new() -> io::Result<PacketSocket> {
        let flags = SocketFlags::CLOEXEC;
        Ok(PacketSocket(socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?))
    }

    pub(super) fn index_of(&self, interface: &str) -> io::Result<u32> {
        if interface.len() >= NAME_LEN {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        Ok(netdevice::name_to_index(self, interface)?)
    }

    /// What kind of interface it is.
    #[expect(unsafe_code, reason = "no safe wrapper asks for it")]
    pub(super) fn hardware(&self, interface: &str) -> io::Result<Hardware> {
        let mut request = HardwareRequest::new_zeroed();
        request.name[..interface.len()].copy_from_slice(interface.as_bytes());
        let (fd, argument) = (self.0.as_raw_fd(), std::ptr::from_mut(&mut request));
        // SAFETY: the argument is that of this call (`netdevice(7)`): a structure of the size of an
        // `ifreq`, which lives through the call, with a name that ends in a zero (`index_of` has
        // checked its length); the kernel fills in an address, for which every pattern of bits is
        // a value.
        let done = unsafe { libc::ioctl(fd, libc::SIOCGIFHWADDR, argument) };
        if done == 0 { Ok(Hardware(request.family)) } else { Err(io::Error::last_os_error()) }
    }

    pub(super) fn make_ring(
        &self,
        block_size: usize,
        blocks: usize,
        retired_after: u32,
    ) -> io::Result<()> {
        // Frames have no meaning in this version but must fill the blocks.
        let frame_size = 2048;
        let too_large = |_| io::Error::from(io::ErrorKind::InvalidInput);
        self.set(libc::PACKET_VERSION, &(libc::tpacket_versions::TPACKET_V3 as u32))?;
        let request = RingRequest {
            block_size: u32::try_from(block_size).map_err(too_large)?,
            blocks: u32::try_from(blocks).map_err(too_large)?,
            frame_size,
            frames: u32::try_from(block_size * blocks / frame_size as usize).map_err(too_large)?,
            retired_after,
            private: 0,
            features: 0,
        };
        self.set(libc::PACKET_RX_RING, &request)
    }

    /// Leaves out what this machine sends.
    pub(super) fn ignore_outgoing(&self) -> io::Result<()> {
        self.set(libc::PACKET_IGNORE_OUTGOING, &1u32)
    }

    /// Lets packets of an interface come.
    #[expect(unsafe_code, reason = "no safe wrapper has this kind of address")]
    pub(super) fn bind(&self, index: u32) -> io::Result<()> {
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
            sll_ifindex: index as i32,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let length = size_of::<libc::sockaddr_ll>() as u32;
        let address = std::ptr::from_ref(&address).cast();
        // SAFETY: address and length are those of a structure that lives through the call, and the
        // kernel only reads it.
        let done = unsafe { libc::bind(self.0.as_raw_fd(), address, length) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    pub(super) fn be_promiscuous(&self, index: u32) -> io::Result<()> {
        let kind = libc::PACKET_MR_PROMISC as u16;
        let address = [0; 8];
        let membership = Membership { index: index as i32, kind, address_length: 0, address };
        self.set(libc::PACKET_ADD_MEMBERSHIP, &membership)
    }

    /// Begins a group of sockets among which flows are spread; gives its number.
    pub(super) fn lead_group(&self) -> io::Result<u16> {
        let flags = libc::PACKET_FANOUT_HASH | libc::PACKET_FANOUT_FLAG_UNIQUEID;
        self.set(libc::PACKET_FANOUT, &(flags << 16))?;
        let group: u32 = self.get(libc::PACKET_FANOUT)?;
        Ok(group as u16)
    }

    pub(super) fn join_group(&self, group: u16) -> io::Result<()> {
        self.set(libc::PACKET_FANOUT, &(u32::from(group) | libc::PACKET_FANOUT_HASH << 16))
    }

    pub(super) fn take_statistics(&self) -> io::Result<Statistics> {
        self.get(libc::PACKET_STATISTICS)
    }

    /// Runs a program over each packet, instead of the one before.
    pub(super) fn filter(&self, program: &[Instruction]) -> io::Result<()> {
        attach(self, program)
    }

    #[expect(unsafe_code, reason = "no safe wrapper knows the options of packet sockets")]
    fn set<T: IntoBytes + Immutable>(&self, option: i32, value: &T) -> io::Result<()> {
        let (fd, bytes) = (self.0.as_raw_fd(), value.as_bytes());
        let (start, length) = (bytes.as_ptr().cast(), bytes.len() as u32);
        // SAFETY: start and length are those of a slice, from which the kernel only reads.
        let done = unsafe { libc::setsockopt(fd, libc::SOL_PACKET, option, start, length) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    #[expect(unsafe_code, reason = "no safe wrapper knows the options of packet sockets")]
    fn get<T: FromBytes + IntoBytes>(&self, option: i32) -> io::Result<T> {
        let mut value = T::new_zeroed();
        let (fd, bytes) = (self.0.as_raw_fd(), value.as_mut_bytes());
        let (start, mut length) = (bytes.as_mut_ptr().cast(), bytes.len() as u32);
        // SAFETY: start and length are those of a slice that is borrowed for writing, of which the
        // kernel writes no more than `length` bytes; every pattern of bits is a value of `T`.
        let done =
            unsafe { libc::getsockopt(fd, libc::SOL_PACKET, option, start, &raw mut length) };
        if done == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
    }
}

/// Runs a program over each packet that comes to a socket, instead of the one before.
#[expect(unsafe_code, reason = "no safe wrapper sets it")]
pub(crate) fn attach(socket: impl AsFd, program: &[Instruction]) -> io::Result<()> {
    let as_kernel =
        |it: &Instruction| libc::sock_filter { code: it.code, jt: it.jt, jf: it.jf, k: it.k };
    let mut instructions: Vec<libc::sock_filter> = program.iter().map(as_kernel).collect();
    let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let program = libc::sock_fprog {
        len: u16::try_from(instructions.len()).map_err(too_long)?,
        filter: instructions.as_mut_ptr(),
    };
    let (fd, length) = (socket.as_fd().as_raw_fd(), size_of::<libc::sock_fprog>() as u32);
    let (level, option) = (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER);
    let program = std::ptr::from_ref(&program).cast();
    // SAFETY: the program and the instructions that it points to, as many as it says, live
    // through the call, and the kernel copies them.
    let done = unsafe { libc::setsockopt(fd, level, option, program, length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether there is an interface of that name, asked by a socket that anybody may have.
pub(super) fn is_there(interface: &str) -> io::Result<bool> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    match netdevice::name_to_index(&socket, interface) {
        Ok(_) => Ok(true),
        Err(rustix::io::Errno::NODEV) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Names of the interfaces there are.
pub(super) fn interfaces() -> Vec<String> {
    let Ok(folder) = std::fs::read_dir("/sys/class/net") else { return Vec::new() };
    let names = folder.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}
