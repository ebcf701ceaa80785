//! The database image that a snapshot carries: the file as one commit sees it.

use std::io;

use crate::meta::Meta;
use crate::version::Version;

const CHUNK_BYTES: usize = 256 << 10;

/// Hands over the image: both metas made from the commit's own, the second one older, then the pages as the file has them.
///
/// The pages are read by way of the file, not the map: among them are free ones, which the writer may be at. What a free page
/// holds is of no meaning, and the end of the file may have been cut off by now where only free pages were.
pub(crate) fn write(version: &Version, chunk: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let handle = &version.handle;
    let page_size = handle.page_size;
    let mut metas = vec![0; 2 * page_size];
    version.meta.encode(0, &mut metas[..page_size]);
    let older = Meta {
        txid: version.meta.txid.saturating_sub(1),
        ..version.meta
    };
    older.encode(1, &mut metas[page_size..]);
    chunk(&metas)?;
    let end = version.meta.mark * page_size as u64;
    let mut at = metas.len() as u64;
    let mut buffer = vec![0; CHUNK_BYTES];
    while at < end {
        let len = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        let piece = &mut buffer[..len];
        let mut filled = 0;
        while filled < len {
            match handle.file.read_at(&mut piece[filled..], at + filled as u64)? {
                0 => {
                    piece[filled..].fill(0);
                    break;
                }
                read => filled += read,
            }
        }
        chunk(piece)?;
        at += len as u64;
    }
    Ok(())
}
