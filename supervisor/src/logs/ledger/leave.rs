//! How blocks leave the sequence: to a segment file, and for good.

use std::sync::Arc;

use bytes::Bytes;

use super::super::segment::Segment;
use super::{Place, Sealed, Sequence};

/// The most that is moved at once, in bytes, to let others go on in between.
const MAX_SPILL_BYTES: u64 = 1 << 20;

impl Sequence {
    /// Drops the oldest segment, or the oldest block if it is still in memory; never the open block.
    /// Tells whether there was one.
    pub(in crate::logs) fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.sealed.pop_front() else {
            return false;
        };
        self.first += 1;
        match oldest.place {
            Place::Memory(_) => self.memory_bytes -= oldest.len as u64,
            Place::Disk { segment, .. } => {
                self.disk_bytes -= oldest.len as u64;
                while let Some(block) = self.sealed.pop_front_if(|block| block.is_in(&segment)) {
                    self.first += 1;
                    self.disk_bytes -= block.len as u64;
                }
                self.discarded.push(segment);
            }
        }
        true
    }

    /// Takes the segments that nothing refers to any more.
    pub(in crate::logs) fn take_discarded(&mut self) -> Vec<Arc<Segment>> {
        std::mem::take(&mut self.discarded)
    }

    /// Takes every segment, at the end of the ledger's life.
    pub(in crate::logs) fn discard_all(&mut self) -> Vec<Arc<Segment>> {
        while self.drop_oldest() {}
        self.take_discarded()
    }

    /// When the oldest segment on disk was begun, by the store's count.
    pub(in crate::logs) fn oldest_segment(&self) -> Option<u64> {
        match &self.sealed.front()?.place {
            Place::Disk { segment, .. } => Some(segment.ordinal()),
            Place::Memory(_) => None,
        }
    }

    /// The oldest sealed blocks in memory, as many as it takes to have no more than `keep` bytes
    /// there; with the number of each.
    pub(in crate::logs) fn to_spill(&self, keep: u64) -> Vec<(u64, Bytes)> {
        let mut excess = self.memory_bytes.saturating_sub(keep).min(MAX_SPILL_BYTES);
        let on_disk = self.sealed.partition_point(Sealed::is_on_disk);
        let mut blocks = Vec::new();
        for (index, block) in self.sealed.iter().enumerate().skip(on_disk) {
            if excess == 0 {
                break;
            }
            if let Place::Memory(frames) = &block.place {
                excess = excess.saturating_sub(block.len as u64);
                blocks.push((self.first + index as u64, frames.clone()));
            }
        }
        blocks
    }

    /// Block `number` lies in `segment` from now on. If it was dropped meanwhile, nothing happens.
    pub(in crate::logs) fn spilled(&mut self, number: u64, segment: &Arc<Segment>, offset: u64) {
        let index = number.checked_sub(self.first);
        let index = index.and_then(|index| usize::try_from(index).ok());
        if let Some(block) = index.and_then(|index| self.sealed.get_mut(index)) {
            block.place = Place::Disk {
                segment: Arc::clone(segment),
                offset,
            };
            self.memory_bytes -= block.len as u64;
            self.disk_bytes += block.len as u64;
        }
    }

    /// How large one segment file is to be.
    pub(in crate::logs) fn segment_bytes(&self) -> u64 {
        self.sizes.segment
    }
}

impl Sealed {
    fn is_on_disk(&self) -> bool {
        matches!(self.place, Place::Disk { .. })
    }

    fn is_in(&self, wanted: &Arc<Segment>) -> bool {
        matches!(&self.place, Place::Disk { segment, .. } if Arc::ptr_eq(segment, wanted))
    }
}
