//! Bytes that came and must wait for more: copied out of the receive chunks, into a block that grows by doubling.

use ringway_runtime::{BlockMut, Core};

/// A copy in a right-sized block.
pub(crate) fn copy(core: &Core, bytes: &[u8]) -> BlockMut {
    let mut block = core.block(bytes.len());
    block.extend_from_slice(bytes);
    block
}

/// `block` with `bytes` behind it, in a larger block where it does not fit.
pub(crate) fn append(core: &Core, mut block: BlockMut, bytes: &[u8]) -> BlockMut {
    let size = block.len() + bytes.len();
    if size > block.capacity() {
        let mut larger = core.block(size.max(2 * block.capacity()));
        larger.extend_from_slice(&block);
        block = larger;
    }
    block.extend_from_slice(bytes);
    block
}
