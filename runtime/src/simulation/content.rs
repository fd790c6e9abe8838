//! The bytes of a simulated file: pages that copies of a disk share until one of them changes.

use std::rc::Rc;

const PAGE: usize = 4096;

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    len: u64,
    /// `None` where nothing but zeros was written.
    pages: Vec<Option<Rc<[u8; PAGE]>>>,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Cuts the file, or adds zeros.
    pub(super) fn set_len(&mut self, len: u64) {
        let pages = len.div_ceil(PAGE as u64) as usize;
        self.pages.resize(pages, None);
        let within = (len % PAGE as u64) as usize;
        if len < self.len
            && within > 0
            && let Some(Some(page)) = self.pages.last_mut()
        {
            Rc::make_mut(page)[within..].fill(0);
        }
        self.len = len;
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.set_len(self.len.max(offset + bytes.len() as u64));
        let mut rest = bytes;
        let mut at = offset;
        while !rest.is_empty() {
            let (number, within) = ((at / PAGE as u64) as usize, (at % PAGE as u64) as usize);
            let (now, later) = rest.split_at(rest.len().min(PAGE - within));
            let page = self.pages[number].get_or_insert_with(|| Rc::new([0; PAGE]));
            Rc::make_mut(page)[within..within + now.len()].copy_from_slice(now);
            at += now.len() as u64;
            rest = later;
        }
    }

    /// Fills `out` as far as the file reaches; gives the bytes read.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> usize {
        let length = self.len.saturating_sub(offset).min(out.len() as u64) as usize;
        let mut filled = 0;
        while filled < length {
            let at = offset + filled as u64;
            let (number, within) = ((at / PAGE as u64) as usize, (at % PAGE as u64) as usize);
            let step = (length - filled).min(PAGE - within);
            let target = &mut out[filled..filled + step];
            match &self.pages[number] {
                Some(page) => target.copy_from_slice(&page[within..within + step]),
                None => target.fill(0),
            }
            filled += step;
        }
        length
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_content_is_a_vector_of_bytes(
            changes in prop::collection::vec((0u64..20_000, 0usize..9_000, any::<u8>()), 1..20)
        ) {
            let (mut content, mut model) = (Content::default(), Vec::new());
            for (offset, length, byte) in changes {
                if byte < 60 {
                    content.set_len(offset);
                    model.resize(offset as usize, 0);
                } else if length > 0 {
                    content.write(offset, &vec![byte; length]);
                    let end = offset as usize + length;
                    model.resize(model.len().max(end), 0);
                    model[offset as usize..end].fill(byte);
                }
                let mut read = vec![1; model.len() + 3];
                prop_assert_eq!(content.read(0, &mut read), model.len());
                prop_assert_eq!(&read[..model.len()], &model[..]);
                prop_assert_eq!(content.len(), model.len() as u64);
            }
        }
    }
}
