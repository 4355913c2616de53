// SPDX-License-Identifier: GPL-2.0

//! An open `/dev/cenalloc_edu`.

use crate::{
    c,
    engine::Piece,
    state::{
        Edu,
        Session,
        State,
        Step,
        ONLINE, //
    },
};
use core::mem::size_of;
use dma_buf_constraints::dma_buf::{
    Attachment,
    DataDirection,
    DmaBuf,
    Mapping, //
};
use kernel::{
    fs::File,
    ioctl::{
        _IO,
        _IOW,
        _IOWR, //
    },
    miscdevice::{
        MiscDevice,
        MiscDeviceRegistration, //
    },
    prelude::*,
    sync::Arc,
    transmute::{
        AsBytes,
        FromBytes, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

const TYPE: u32 = 'E' as u32;
const EDU_ATTACH: u32 = _IO(TYPE, 0x01);
const EDU_MAP: u32 = _IOWR::<c::edu_map>(TYPE, 0x02);
const EDU_TRANSFER: u32 = _IOW::<c::edu_transfer>(TYPE, 0x03);
const EDU_UNMAP: u32 = _IO(TYPE, 0x04);
const EDU_DETACH: u32 = _IO(TYPE, 0x05);

// SAFETY: The structures consist of integers, and have no padding.
unsafe impl FromBytes for c::edu_map {}
// SAFETY: The structures consist of integers, and have no padding.
unsafe impl AsBytes for c::edu_map {}
// SAFETY: The structures consist of integers, and have no padding.
unsafe impl FromBytes for c::edu_transfer {}
// SAFETY: The structures consist of integers, and have no padding.
unsafe impl AsBytes for c::edu_segment {}

/// An open file.
pub(crate) struct EduFile {
    edu: Arc<Edu>,
    number: u64,
}

#[vtable]
impl MiscDevice for EduFile {
    type Ptr = KBox<Self>;

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<Self::Ptr> {
        let edu = ONLINE.lock().clone().ok_or(ENODEV)?;
        let number = edu.with(State::add_file)?;
        Ok(KBox::new(Self { edu, number }, GFP_KERNEL)?)
    }

    fn ioctl(me: &Self, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        match cmd {
            EDU_ATTACH => me.attach(arg)?,
            EDU_MAP => me.map(arg)?,
            EDU_TRANSFER => me.transfer(arg)?,
            EDU_UNMAP => me.unmap()?,
            EDU_DETACH => me.detach()?,
            _ => return Err(ENOTTY),
        }
        Ok(0)
    }
}

impl EduFile {
    fn with<T>(&self, work: impl FnOnce(Session<'_>) -> Result<T>) -> Result<T> {
        self.edu.with(|state| work(state.session(self.number)?))
    }

    fn attach(&self, fd: usize) -> Result {
        let buffer = DmaBuf::get(i32::try_from(fd).map_err(|_| EBADF)?)?;
        self.with(|Session { device, step, .. }| {
            if step.is_some() {
                return Err(EBUSY);
            }
            // SAFETY: Unbind waits for this session and then detaches everything, before the device
            // loses its driver.
            let attachment = unsafe { Attachment::new(buffer, device) }?;
            *step = Some(Step::Attached(attachment));
            Ok(())
        })
    }

    fn map(&self, arg: usize) -> Result {
        let request: c::edu_map = read(arg)?;
        if request.reserved != 0 {
            return Err(EINVAL);
        }
        self.with(|Session { step, .. }| {
            let (now, result) = match step.take() {
                Some(Step::Attached(attachment)) => {
                    match attachment.map(DataDirection::Bidirectional) {
                        Ok(mapping) => (Some(Step::Mapped(mapping)), Ok(())),
                        Err((error, attachment)) => (Some(Step::Attached(attachment)), Err(error)),
                    }
                }
                mapped @ Some(Step::Mapped(_)) => (mapped, Err(EBUSY)),
                None => (None, Err(EINVAL)),
            };
            *step = now;
            result
        })?;
        let result = self.report(request, arg);
        if result.is_err() {
            // The caller does not know of the mapping. Another thread of it may have been faster.
            let _ = self.unmap();
        }
        result
    }

    /// Tells userspace the segments of the mapping, as many as it has room for.
    fn report(&self, mut request: c::edu_map, arg: usize) -> Result {
        // Under the lock no user memory can be written.
        let segments = self.with(|Session { step, .. }| {
            let mut segments = KVVec::new();
            for segment in mapping(step)?.segments() {
                let segment = c::edu_segment {
                    address: segment.address,
                    len: segment.len,
                };
                segments.push(segment, GFP_KERNEL)?;
            }
            Ok(segments)
        })?;
        let room = match request.segments {
            0 => 0,
            _ => request.count as usize,
        };
        let array = UserPtr::from_addr(usize::try_from(request.segments)?);
        let len = room.saturating_mul(size_of::<c::edu_segment>());
        let mut writer = UserSlice::new(array, len).writer();
        for segment in segments.iter().take(room) {
            writer.write(segment)?;
        }
        request.count = u32::try_from(segments.len())?;
        write(arg, &request)
    }

    fn transfer(&self, arg: usize) -> Result {
        let request: c::edu_transfer = read(arg)?;
        let to_ram = match request.direction {
            c::EDU_TO_DEVICE => false,
            c::EDU_FROM_DEVICE => true,
            _ => return Err(EINVAL),
        };
        let is_within = |offset: u64, size: u64| {
            let end = offset.checked_add(request.len.into());
            end.is_some_and(|end| end <= size)
        };
        let memory = c::EDU_MEMORY_SIZE.into();
        if request.reserved != 0 || !is_within(request.device_offset.into(), memory) {
            return Err(EINVAL);
        }
        self.with(|session| {
            let mapping = mapping(session.step)?;
            if !is_within(request.offset, mapping.buffer().size() as u64) {
                return Err(EINVAL);
            }
            let mut skip = request.offset;
            let mut done = 0;
            for segment in mapping.segments() {
                if skip >= segment.len {
                    skip -= segment.len;
                    continue;
                }
                let left = request.len - done;
                let piece = Piece {
                    address: segment.address + skip,
                    device_offset: request.device_offset + done,
                    len: u32::try_from(segment.len - skip).map_or(left, |here| here.min(left)),
                    to_ram,
                };
                if piece.len == 0 {
                    break;
                }
                session.engine.range(session.device, &piece)?;
                done += piece.len;
                skip = 0;
            }
            Ok(())
        })
    }

    fn unmap(&self) -> Result {
        self.with(|Session { step, .. }| match step.take() {
            Some(Step::Mapped(mapping)) => {
                *step = Some(Step::Attached(mapping.unmap()));
                Ok(())
            }
            other => {
                *step = other;
                Err(EINVAL)
            }
        })
    }

    fn detach(&self) -> Result {
        self.with(|Session { step, .. }| match step.take() {
            // The drop unmaps, where it is mapped, and detaches.
            Some(_) => Ok(()),
            None => Err(EINVAL),
        })
    }
}

impl Drop for EduFile {
    fn drop(&mut self) {
        // Where the device is gone there is nothing left to undo.
        let _ = self.edu.with(|state| {
            state.remove_file(self.number);
            Ok(())
        });
    }
}

/// Returns the mapping. `EINVAL` where the buffer is not mapped.
fn mapping(step: &Option<Step>) -> Result<&Mapping> {
    match step {
        Some(Step::Mapped(mapping)) => Ok(mapping),
        _ => Err(EINVAL),
    }
}

fn read<T: FromBytes>(arg: usize) -> Result<T> {
    UserSlice::new(UserPtr::from_addr(arg), size_of::<T>())
        .reader()
        .read()
}

fn write<T: AsBytes>(arg: usize, value: &T) -> Result {
    UserSlice::new(UserPtr::from_addr(arg), size_of::<T>())
        .writer()
        .write(value)
}
