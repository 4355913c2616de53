// SPDX-License-Identifier: GPL-2.0

//! An open `/dev/cenalloc_importer`: its devices, its attachments, its calls.

use crate::{
    c,
    device::ImporterDevice,
    moves::Moves,
    table::Table, //
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
        _IOWR, //
    },
    miscdevice::{
        MiscDevice,
        MiscDeviceRegistration, //
    },
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    transmute::{
        AsBytes,
        FromBytes, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

const TYPE: u32 = 'I' as u32;
const IMPORTER_ADD: u32 = _IOWR::<c::importer_add>(TYPE, 0x01);
const IMPORTER_REMOVE: u32 = _IO(TYPE, 0x02);
const IMPORTER_ATTACH: u32 = _IOWR::<c::importer_attach>(TYPE, 0x03);
const IMPORTER_MAP: u32 = _IOWR::<c::importer_map>(TYPE, 0x04);
const IMPORTER_UNMAP: u32 = _IO(TYPE, 0x05);
const IMPORTER_DETACH: u32 = _IO(TYPE, 0x06);
const IMPORTER_PIN: u32 = _IO(TYPE, 0x07);
const IMPORTER_UNPIN: u32 = _IO(TYPE, 0x08);
const IMPORTER_MOVES: u32 = _IOWR::<c::importer_moves>(TYPE, 0x09);

const FLAGS: u32 = c::IMPORTER_NO_DMA
    | c::IMPORTER_DECLARE
    | c::IMPORTER_COHERENT
    | c::IMPORTER_CHILD
    | c::IMPORTER_PARMS_ACCESS
    | c::IMPORTER_NONCOHERENT;

// SAFETY: The structures consist of integers, and have no padding.
unsafe impl FromBytes for c::importer_add {}
// SAFETY: As above.
unsafe impl AsBytes for c::importer_add {}
// SAFETY: As above.
unsafe impl FromBytes for c::importer_attach {}
// SAFETY: As above.
unsafe impl AsBytes for c::importer_attach {}
// SAFETY: As above.
unsafe impl FromBytes for c::importer_map {}
// SAFETY: As above.
unsafe impl AsBytes for c::importer_map {}
// SAFETY: As above.
unsafe impl AsBytes for c::importer_segment {}
// SAFETY: As above.
unsafe impl FromBytes for c::importer_moves {}
// SAFETY: As above.
unsafe impl AsBytes for c::importer_moves {}

/// How far a device has come with a buffer.
enum Step {
    Attached(Attachment),
    Mapped(Mapping),
}

/// A device that is attached to a buffer.
struct User {
    /// [`None`] while a call works on it: then it belongs to that call.
    step: Option<Step>,
    /// What a dynamic attachment has heard.
    moves: Arc<Moves>,
    // Below `step`: a device goes after its attachment.
    device: Arc<ImporterDevice>,
}

/// What belongs to an open file. Dropped from top to bottom.
struct Owned {
    users: Table<User>,
    /// [`None`] is a device that is being made.
    devices: Table<Option<Arc<ImporterDevice>>>,
}

/// An open file.
///
/// A call takes out of the tables what it works on, and puts it back when it is done. So the
/// lock is held for a look-up at a time, never while a buffer's exporter works or while user
/// memory is copied; and calls that want the same thing at the same time get `EBUSY`.
#[pin_data]
pub(crate) struct ImporterFile {
    #[pin]
    owned: Mutex<Owned>,
}

#[vtable]
impl MiscDevice for ImporterFile {
    type Ptr = Pin<KBox<Self>>;

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<Self::Ptr> {
        let owned = Owned {
            users: Table::new(),
            devices: Table::new(),
        };
        KBox::pin_init(
            pin_init!(Self {
                owned <- new_mutex!(owned, "cenalloc_importer"),
            }),
            GFP_KERNEL,
        )
    }

    fn ioctl(me: Pin<&Self>, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        match cmd {
            IMPORTER_ADD => me.add(arg)?,
            IMPORTER_REMOVE => me.remove(handle(arg)?)?,
            IMPORTER_ATTACH => me.attach(arg)?,
            IMPORTER_MAP => me.map(arg)?,
            IMPORTER_UNMAP => me.unmap(handle(arg)?)?,
            IMPORTER_DETACH => me.detach(handle(arg)?)?,
            IMPORTER_PIN => me.pinning(handle(arg)?, Attachment::pin)?,
            IMPORTER_UNPIN => me.pinning(handle(arg)?, Attachment::unpin)?,
            IMPORTER_MOVES => me.moves(arg)?,
            _ => return Err(ENOTTY),
        }
        Ok(0)
    }
}

impl ImporterFile {
    fn add(&self, arg: usize) -> Result {
        let mut add: c::importer_add = read(arg)?;
        let is_child = add.flags & c::IMPORTER_CHILD != 0;
        if add.flags & !FLAGS != 0 || add.reserved != [0; 3] || !is_child && add.parent != 0 {
            return Err(EINVAL);
        }
        let (handle, parent) = {
            let mut owned = self.owned.lock();
            let parent = if is_child {
                Some(owned.devices.get_mut(add.parent)?.clone().ok_or(ENOENT)?)
            } else {
                None
            };
            (owned.devices.insert(None)?, parent)
        };
        add.device = handle;
        let result = ImporterDevice::new(&add, parent)
            .and_then(|device| Ok(Arc::new(device, GFP_KERNEL)?))
            .and_then(|device| write(arg, &add).map(|()| device));
        let mut owned = self.owned.lock();
        match result {
            Ok(device) => {
                *owned.devices.get_mut(handle)? = Some(device);
                Ok(())
            }
            Err(error) => {
                owned.devices.remove(handle);
                Err(error)
            }
        }
    }

    fn remove(&self, handle: u32) -> Result {
        let mut owned = self.owned.lock();
        let device = owned.devices.get_mut(handle)?.clone().ok_or(ENOENT)?;
        if owned
            .users
            .iter()
            .any(|user| Arc::ptr_eq(&user.device, &device))
            || owned
                .devices
                .iter()
                .flatten()
                .any(|other| other.is_child_of(&device))
        {
            return Err(EBUSY);
        }
        owned.devices.remove(handle);
        drop(owned);
        // The last reference: the device goes, with the lock released.
        drop(device);
        Ok(())
    }

    fn attach(&self, arg: usize) -> Result {
        let mut request: c::importer_attach = read(arg)?;
        if request.flags & !c::IMPORTER_DYNAMIC != 0 {
            return Err(EINVAL);
        }
        let moves = Moves::new()?;
        let (handle, device) = {
            let mut owned = self.owned.lock();
            let device = owned.devices.get_mut(request.device)?.clone();
            let device = device.ok_or(ENOENT)?;
            let user = User {
                step: None,
                moves: moves.clone(),
                device: device.clone(),
            };
            (owned.users.insert(user)?, device)
        };
        request.attachment = handle;
        let result = DmaBuf::get(request.fd)
            .and_then(|buffer| {
                if request.flags & c::IMPORTER_DYNAMIC != 0 {
                    // SAFETY: The device stays bound until it is dropped, by the invariants of
                    // `ImporterDevice`; the user that holds the attachment holds the device, too.
                    // Nothing ever works on what is mapped, as there is no hardware. It is unmapped
                    // when the program says so that has opened the node, or ends: a test of root.
                    unsafe { Attachment::new_dynamic(buffer, &device, moves) }
                } else {
                    // SAFETY: The device stays bound, as above.
                    unsafe { Attachment::new(buffer, &device) }
                }
            })
            .and_then(|attachment| write(arg, &request).map(|()| attachment));
        match result {
            Ok(attachment) => {
                self.put(handle, Step::Attached(attachment));
                Ok(())
            }
            Err(error) => {
                self.forget(handle);
                Err(error)
            }
        }
    }

    fn map(&self, arg: usize) -> Result {
        let mut request: c::importer_map = read(arg)?;
        let direction = match request.direction {
            0 => DataDirection::Bidirectional,
            1 => DataDirection::ToDevice,
            2 => DataDirection::FromDevice,
            _ => return Err(EINVAL),
        };
        if request.reserved != 0 {
            return Err(EINVAL);
        }
        self.step(request.attachment, |step| match step {
            Step::Mapped(_) => (step, Err(EBUSY)),
            Step::Attached(attachment) => match attachment.map(direction) {
                Ok(mapping) => match report(&mapping, &mut request, arg) {
                    Ok(()) => (Step::Mapped(mapping), Ok(())),
                    Err(error) => (Step::Attached(mapping.unmap()), Err(error)),
                },
                Err((error, attachment)) => (Step::Attached(attachment), Err(error)),
            },
        })
    }

    fn unmap(&self, handle: u32) -> Result {
        self.step(handle, |step| match step {
            Step::Mapped(mapping) => (Step::Attached(mapping.unmap()), Ok(())),
            Step::Attached(_) => (step, Err(EINVAL)),
        })
    }

    fn detach(&self, handle: u32) -> Result {
        // The drop unmaps, where it is mapped, and detaches.
        drop(self.take(handle)?);
        self.forget(handle);
        Ok(())
    }

    /// Pins or unpins what is attached and not mapped.
    fn pinning(&self, handle: u32, change: fn(&mut Attachment) -> Result) -> Result {
        self.step(handle, |mut step| {
            let result = match &mut step {
                Step::Attached(attachment) => change(attachment),
                Step::Mapped(_) => Err(EBUSY),
            };
            (step, result)
        })
    }

    fn moves(&self, arg: usize) -> Result {
        let mut request: c::importer_moves = read(arg)?;
        request.moves = {
            let mut owned = self.owned.lock();
            owned.users.get_mut(request.attachment)?.moves.count()
        };
        write(arg, &request)
    }

    /// Lets `work` take a user from one step to another.
    fn step(&self, handle: u32, work: impl FnOnce(Step) -> (Step, Result)) -> Result {
        let (step, result) = work(self.take(handle)?);
        self.put(handle, step);
        result
    }

    /// Takes a user's step to work on it. `ENOENT`; `EBUSY` where another call works on it.
    fn take(&self, handle: u32) -> Result<Step> {
        let mut owned = self.owned.lock();
        owned.users.get_mut(handle)?.step.take().ok_or(EBUSY)
    }

    /// Ends the work on a user.
    fn put(&self, handle: u32, step: Step) {
        if let Ok(user) = self.owned.lock().users.get_mut(handle) {
            user.step = Some(step);
        }
    }

    /// Ends the work on a user that is not attached, and frees its handle.
    fn forget(&self, handle: u32) {
        self.owned.lock().users.remove(handle);
    }
}

/// Tells userspace the segments of a mapping, as many as it has room for.
fn report(mapping: &Mapping, request: &mut c::importer_map, arg: usize) -> Result {
    let room = match request.segments {
        0 => 0,
        _ => request.count as usize,
    };
    let array = UserPtr::from_addr(usize::try_from(request.segments)?);
    let len = room.saturating_mul(size_of::<c::importer_segment>());
    let mut writer = UserSlice::new(array, len).writer();
    for segment in mapping.segments().take(room) {
        writer.write(&c::importer_segment {
            address: segment.address,
            len: segment.len,
        })?;
    }
    request.count = u32::try_from(mapping.segments().count())?;
    write(arg, request)
}

/// A handle that is the argument itself.
fn handle(arg: usize) -> Result<u32> {
    u32::try_from(arg).map_err(|_| ENOENT)
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
