// SPDX-License-Identifier: GPL-2.0

//! The memory of a buffer.

use crate::{
    allocator::{
        pages::{
            self,
            Chunk, //
        },
        Allocator, //
    },
    c,
};
use core::ptr::NonNull;
use dma_buf_constraints::model::{
    Memory,
    Run, //
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

/// How many runs are looked through one by one before an index of offsets pays.
const INDEX_ABOVE: usize = 16;

/// Makes room for `count` more elements, without the last resort of the page allocator: a push
/// that grows the vector by itself could make it kill somebody. `ENOMEM`.
fn make_room<T>(vec: &mut KVVec<T>, count: usize) -> Result {
    if vec.capacity() - vec.len() >= count {
        return Ok(());
    }
    let capacity = (vec.len() + count).max(vec.capacity() * 2);
    // SAFETY: No requirements; the product is checked.
    let room = unsafe { c::cenalloc_kvmalloc(capacity, size_of::<T>()) };
    let room = NonNull::new(room).ok_or(ENOMEM)?;
    // SAFETY: The room is from the allocator of a `KVVec`, for `capacity` elements of which none is
    // initialised, aligned for any that holds numbers and pointers.
    let mut larger = unsafe { KVVec::from_raw_parts(room.as_ptr().cast::<T>(), 0, capacity) };
    for element in core::mem::replace(vec, KVVec::new()) {
        larger.push(element, GFP_KERNEL)?;
    }
    *vec = larger;
    Ok(())
}

/// Memory that is being collected for a buffer.
pub(crate) struct Collected {
    chunks: KVVec<Chunk>,
    runs: KVVec<Run>,
}

impl Collected {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            chunks: KVVec::new(),
            runs: KVVec::new(),
        }
    }

    /// Adds a chunk behind the others. On `ENOMEM` the chunk is freed.
    pub(crate) fn push(&mut self, chunk: Chunk) -> Result {
        let run = chunk.run();
        match self.runs.last_mut() {
            Some(last) if last.start.checked_add(last.len) == Some(run.start) => {
                make_room(&mut self.chunks, 1)?;
                self.chunks.push(chunk, GFP_KERNEL_ACCOUNT)?;
                last.len += run.len;
            }
            _ => {
                make_room(&mut self.runs, 1)?;
                make_room(&mut self.chunks, 1)?;
                self.chunks.push(chunk, GFP_KERNEL_ACCOUNT)?;
                self.runs.push(run, GFP_KERNEL_ACCOUNT)?;
            }
        }
        Ok(())
    }

    /// How many runs there are.
    pub(crate) fn runs(&self) -> usize {
        self.runs.len()
    }
}

/// A buffer's memory, zeroed when it was provided. Freed when dropped.
pub(crate) struct Backing {
    allocator: &'static dyn Allocator,
    /// Frees the memory, chunk by chunk.
    #[expect(dead_code, reason = "owns the memory")]
    chunks: KVVec<Chunk>,
    /// The memory in the order of the buffer's bytes; neighbours that touch are one run.
    runs: KVVec<Run>,
    /// Where each run starts in the buffer; empty where there are few.
    offsets: KVVec<u64>,
    len: u64,
}

impl Backing {
    /// The memory that `allocator` collected. `ENOMEM`.
    pub(crate) fn new(allocator: &'static dyn Allocator, collected: Collected) -> Result<Self> {
        let Collected { chunks, runs } = collected;
        let mut offsets = KVVec::new();
        let mut len = 0;
        if runs.len() > INDEX_ABOVE {
            make_room(&mut offsets, runs.len())?;
        }
        for run in &runs {
            if runs.len() > INDEX_ABOVE {
                offsets.push(len, GFP_KERNEL_ACCOUNT)?;
            }
            len += run.len;
        }
        allocator.used().fetch_add(len, Relaxed);
        Ok(Self {
            allocator,
            chunks,
            runs,
            offsets,
            len,
        })
    }

    /// Who provided it.
    pub(crate) fn allocator(&self) -> &'static dyn Allocator {
        self.allocator
    }

    /// The runs, in the order of the buffer's bytes.
    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Fills this memory with what `other`, of the same length, holds.
    pub(crate) fn copy_from(&self, other: &Self) {
        let mut pieces = other.runs.iter().copied();
        let mut piece = pieces.next();
        for run in &self.runs {
            let mut to = *run;
            while let Some(from) = piece.as_mut() {
                let len = from.len.min(to.len);
                pages::copy(to.start, from.start, len);
                from.start += len;
                from.len -= len;
                if from.len == 0 {
                    piece = pieces.next();
                }
                to.start += len;
                to.len -= len;
                if to.len == 0 {
                    break;
                }
            }
        }
    }

    /// As the model sees it.
    pub(crate) fn memory(&self) -> Memory<'_> {
        Memory {
            class: self.allocator.class(),
            runs: &self.runs,
        }
    }

    /// The run that holds the buffer's byte `offset`, with those behind it, and where it starts
    /// in the buffer.
    pub(crate) fn runs_from(&self, offset: u64) -> Option<(&[Run], u64)> {
        if offset >= self.len {
            return None;
        }
        if !self.offsets.is_empty() {
            let index = self.offsets.partition_point(|start| *start <= offset) - 1;
            return Some((&self.runs[index..], self.offsets[index]));
        }
        let mut start = 0;
        for (index, run) in self.runs.iter().enumerate() {
            if offset - start < run.len {
                return Some((&self.runs[index..], start));
            }
            start += run.len;
        }
        None
    }
}

impl Drop for Backing {
    fn drop(&mut self) {
        self.allocator.used().fetch_sub(self.len, Relaxed);
    }
}
