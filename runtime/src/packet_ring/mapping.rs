//! The memory that is shared with the kernel.

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use super::socket::PacketSocket;

/// Where a block's status is in it (`tpacket_block_desc`, `tpacket_hdr_v1`).
const STATUS_AT: usize = 8;
/// The block is the kernel's.
const STATUS_KERNEL: u32 = 0;
/// The block is ours.
const STATUS_USER: u32 = 1;

/// A socket's ring, mapped: blocks that belong to the kernel or to us, one after the other.
#[derive(Debug)]
pub(super) struct Mapping {
    /// Whoever else has it looks at nothing but whose the blocks are.
    region: Arc<Region>,
}

/// How full a ring is, for anybody who wants to know. It does not keep the ring.
#[derive(Clone, Debug)]
pub struct RingGauge(Weak<Region>);

impl RingGauge {
    /// Blocks that the kernel has handed over and nobody has read yet, and all there are; `None`
    /// when the ring is no more.
    #[must_use]
    pub fn read(&self) -> Option<(u64, u64)> {
        let region = self.0.upgrade()?;
        let ours = (0..region.blocks).filter(|block| region.is_ours(*block)).count();
        Some((ours as u64, region.blocks as u64))
    }
}

impl Mapping {
    /// Maps the ring that was made for the socket: `blocks` of `block_size` bytes.
    pub(super) fn new(
        socket: &PacketSocket,
        block_size: usize,
        blocks: usize,
    ) -> io::Result<Mapping> {
        Ok(Mapping { region: Arc::new(Region::map(socket, block_size, blocks)?) })
    }

    pub(super) fn gauge(&self) -> RingGauge {
        RingGauge(Arc::downgrade(&self.region))
    }

    pub(super) fn blocks(&self) -> usize {
        self.region.blocks
    }

    /// Whether the kernel has filled the block and handed it over.
    pub(super) fn is_ours(&self, block: usize) -> bool {
        self.region.is_ours(block)
    }

    /// The bytes of a block that is ours.
    ///
    /// # Panics
    ///
    /// When it is the kernel's, or there is none of that number.
    #[expect(unsafe_code, reason = "the memory was mapped, not allocated")]
    pub(super) fn block(&self, block: usize) -> &[u8] {
        assert!(self.is_ours(block), "the kernel writes to that block");
        let (start, length) = (self.region.address(block), self.region.block_size);
        // SAFETY: the block lies within the region (`address` panics otherwise), which lives as
        // long as the borrow of `self`. All of it was zeroed by the kernel, so it is initialised.
        // The kernel does not write to a block that is ours, and we write to it only in
        // `give_back`, which takes `&mut self`, of the one mapping that the region has; the status
        // word, which is atomic, is in it, but nobody writes that either while the block is ours.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), length) }
    }

    /// Gives a block back to the kernel.
    pub(super) fn give_back(&mut self, block: usize) {
        // What was read of it was read before this.
        self.region.status(block).store(STATUS_KERNEL, Ordering::Release);
    }
}

/// The memory itself, of which a shared reference gives the status words and nothing else.
#[derive(Debug)]
struct Region {
    start: NonNull<u8>,
    block_size: usize,
    blocks: usize,
}

#[expect(unsafe_code, reason = "the memory is the process's, not a thread's")]
// SAFETY: `start` is the beginning of a mapping that this value alone unmaps. Nothing in it is bound
// to a thread.
unsafe impl Send for Region {}

#[expect(unsafe_code, reason = "the memory is the process's, not a thread's")]
// SAFETY: what a shared reference leads to is atomic: the status words. All else of the memory is
// reached through the one `Mapping` of the region, which is not shared.
unsafe impl Sync for Region {}

impl Region {
    #[expect(unsafe_code, reason = "memory cannot be mapped otherwise")]
    fn map(socket: &PacketSocket, block_size: usize, blocks: usize) -> io::Result<Region> {
        use rustix::mm::{MapFlags, ProtFlags, mmap};
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        let (any, length) = (std::ptr::null_mut(), block_size * blocks);
        // SAFETY: the address is left to the kernel, so that no other memory is replaced.
        let start = unsafe { mmap(any, length, access, flags, socket.as_fd(), 0) }?;
        let start = NonNull::new(start.cast()).expect("the kernel maps nothing at address 0");
        Ok(Region { start, block_size, blocks })
    }

    fn is_ours(&self, block: usize) -> bool {
        // The bytes that it wrote before are seen after this.
        self.status(block).load(Ordering::Acquire) & STATUS_USER != 0
    }

    #[expect(unsafe_code, reason = "the kernel and we take turns by this word")]
    fn status(&self, block: usize) -> &AtomicU32 {
        let address = self.address(block);
        // SAFETY: a block is larger than its header, so the word lies within the block.
        let word = unsafe { address.add(STATUS_AT) };
        // SAFETY: the word lies within the region, which lives as long as the borrow of `self`,
        // and is aligned: blocks begin at multiples of a page. Whoever accesses it on our side does
        // so through this function, or reads it through `Mapping::block` while nobody writes it.
        unsafe { AtomicU32::from_ptr(word.as_ptr().cast()) }
    }

    #[expect(unsafe_code, reason = "the memory was mapped, not allocated")]
    fn address(&self, block: usize) -> NonNull<u8> {
        assert!(block < self.blocks, "there is no block {block}");
        // SAFETY: the region has `blocks` times `block_size` bytes, and `block` is less than
        // `blocks`, so the address lies within it.
        unsafe { self.start.add(block * self.block_size) }
    }
}

impl Drop for Region {
    #[expect(unsafe_code, reason = "memory cannot be unmapped otherwise")]
    fn drop(&mut self) {
        let length = self.block_size * self.blocks;
        // SAFETY: this is the mapping that `map` made, whole, and nothing borrows from it any more.
        // That it fails is impossible for a mapping of ours; nothing would depend on it.
        unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), length) }.ok();
    }
}
