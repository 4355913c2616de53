// SPDX-License-Identifier: GPL-2.0

//! Devices that tests make, and what is remembered of devices while a driver is bound.

use crate::{
    bound::{
        self,
        Kept,
        Room, //
    },
    device::{
        as_raw,
        declare,
        needs, //
    },
    model::{
        Choice,
        Constraints,
        Placement, //
    },
};
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    error::to_result,
    faux,
    prelude::*,
    str::CStrExt,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Completion, //
    },
    workqueue, //
};

/// A device that is bound to a driver, and reaches all memory.
pub(super) struct TestDevice(faux::Registration);

impl TestDevice {
    /// Makes one. `EIO` where the kernel has no DMA; `ENODEV`.
    pub(super) fn new(name: &CStr, parent: Option<&Self>) -> Result<Self> {
        let parent = parent.map(|parent| &**parent.bound());
        let device = Self(faux::Registration::new(name, parent)?);
        let raw = as_raw(device.bound());
        // SAFETY: The device is ours, and nobody maps anything for it yet.
        to_result(unsafe {
            (*raw).dma_mask = &raw mut (*raw).coherent_dma_mask;
            bindings::dma_set_mask_and_coherent(raw, u64::MAX)
        })?;
        Ok(device)
    }

    /// The device.
    pub(super) fn bound(&self) -> &Device<Bound> {
        self.0.as_ref().as_ref()
    }

    /// The device, as somebody else keeps it.
    pub(super) fn keep(&self) -> Result<Kept> {
        Room::new(self.bound(), GFP_KERNEL)?.keep(self.bound())
    }

    /// Declares which classes of memory it reaches, as important as `priority`.
    pub(super) fn declare_classes(&self, access_mask: u64, priority: u16) -> Result {
        declare(self.bound(), &classes(access_mask, priority))
    }
}

/// Constraints that say which classes of memory a device reaches.
fn classes(access_mask: u64, priority: u16) -> Constraints {
    Constraints {
        placement: Placement {
            access_mask,
            ..Placement::ANY
        },
        priority,
        ..Constraints::ANY
    }
}

/// The classes of memory that a driver has declared last.
fn declared(device: &Device) -> Option<u64> {
    bound::declared(device).map(|constraints| constraints.placement.access_mask)
}

/// A reference to the device whose probe failed last, or null.
static FAILED: Atomic<usize> = Atomic::new(0);

/// Declares something, and fails.
///
/// # Safety
///
/// For the faux bus, which probes `device`.
unsafe extern "C" fn fail_to_probe(device: *mut bindings::faux_device) -> c_int {
    // SAFETY: The device is alive and being probed: its driver does not unbind meanwhile.
    let device = unsafe { Device::<Bound>::from_raw(&raw mut (*device).dev) };
    // ENODEV is the only error of which the driver core does not tell.
    if declare(device, &classes(0b1, 0)).is_ok() && declared(device).is_some() {
        let reference = ARef::into_raw(ARef::<Device>::from(device));
        FAILED.store(reference.as_ptr() as usize, Relaxed);
    }
    ENODEV.to_errno()
}

#[kunit_tests(dma_buf_constraints_device)]
mod cases {
    use super::*;

    #[test]
    fn last_declaration_counts() -> Result {
        let had_some = bound::any_declared();
        let device = TestDevice::new(c"dbc_test_declares", None)?;
        assert_eq!(declared(device.bound()), None);
        device.declare_classes(0b01, 0)?;
        assert!(bound::any_declared());
        device.declare_classes(0b10, 0)?;
        assert_eq!(declared(device.bound()), Some(0b10));
        declare(device.bound(), &Constraints::ANY)?;
        assert_eq!(declared(device.bound()), None);
        assert_eq!(bound::any_declared(), had_some);
        // What is not there can be taken back, too.
        declare(device.bound(), &Constraints::ANY)?;
        assert_eq!(bound::any_declared(), had_some);
        Ok(())
    }

    #[test]
    fn two_declarations_at_once_leave_one() -> Result {
        let had_some = bound::any_declared();
        let device = TestDevice::new(c"dbc_test_races", None)?;
        for _ in 0..200 {
            let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
            let (their_done, reference) = (done.clone(), ARef::<Device>::from(device.bound()));
            workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
                // SAFETY: The test waits for this before it lets the device go.
                let _ = declare(unsafe { reference.as_bound() }, &classes(0b01, 0));
                their_done.complete_all();
            })?;
            let declared_here = device.declare_classes(0b10, 0);
            done.wait_for_completion();
            declared_here?;
            assert!(matches!(declared(device.bound()), Some(0b01 | 0b10)));
        }
        drop(device);
        assert_eq!(bound::any_declared(), had_some);
        Ok(())
    }

    #[test]
    fn declaration_goes_on_unbind() -> Result {
        let had_some = bound::any_declared();
        let device = TestDevice::new(c"dbc_test_unbinds", None)?;
        let other = TestDevice::new(c"dbc_test_stays", None)?;
        device.declare_classes(0b01, 0)?;
        other.declare_classes(0b10, 0)?;
        let reference = ARef::<Device>::from(device.bound());
        drop(device);
        assert_eq!(declared(&reference), None);
        assert_eq!(declared(other.bound()), Some(0b10));
        drop(other);
        assert_eq!(bound::any_declared(), had_some);
        Ok(())
    }

    #[test]
    fn declaration_goes_when_probe_fails() -> Result {
        let had_some = bound::any_declared();
        static OPS: bindings::faux_device_ops = bindings::faux_device_ops {
            probe: Some(fail_to_probe),
            remove: None,
        };
        // SAFETY: The name is copied, the operations are static. Without a driver the device is
        // removed at once.
        let device = unsafe {
            bindings::faux_device_create(
                c"dbc_test_fails".as_char_ptr(),
                ptr::null_mut(),
                &raw const OPS,
            )
        };
        assert!(device.is_null());
        let device = NonNull::new(FAILED.xchg(0, Relaxed) as *mut Device).ok_or(EINVAL)?;
        // SAFETY: The reference that the probe left.
        let device = unsafe { ARef::from_raw(device) };
        assert_eq!(declared(&device), None);
        assert_eq!(bound::any_declared(), had_some);
        Ok(())
    }

    #[test]
    fn kept_until_the_driver_unbinds() -> Result {
        let parent = TestDevice::new(c"dbc_test_keeps_parent", None)?;
        let device = TestDevice::new(c"dbc_test_kept", Some(&parent))?;
        let kept = [device.keep()?, device.keep()?];
        let raw = as_raw(device.bound());
        for kept in &kept {
            assert_eq!(kept.device().map(|device| as_raw(&device)), Some(raw));
            assert!(kept.is_of(device.bound()) && !kept.is_of(parent.bound()));
            assert!(!kept.is_over());
        }
        let before = bound::let_go();
        let reference = ARef::<Device>::from(device.bound());
        drop(device);
        assert_eq!(bound::let_go(), before.wrapping_add(2));
        for kept in &kept {
            assert!(kept.device().is_none() && kept.is_over());
            assert!(!kept.is_of(&reference));
        }
        Ok(())
    }

    #[test]
    fn dropped_before_the_driver_unbinds() -> Result {
        let device = TestDevice::new(c"dbc_test_dropped", None)?;
        let before = bound::let_go();
        drop(device.keep()?);
        drop(Room::new(device.bound(), GFP_KERNEL)?);
        drop(device);
        assert_eq!(bound::let_go(), before);
        Ok(())
    }

    #[test]
    fn room_is_for_one_device() -> Result {
        let device = TestDevice::new(c"dbc_test_room", None)?;
        let other = TestDevice::new(c"dbc_test_no_room", None)?;
        let room = Room::new(device.bound(), GFP_KERNEL)?;
        let kept = room.keep(other.bound());
        assert!(matches!(kept, Err(EINVAL)));
        Ok(())
    }

    /// What the nearest ancestor says is inherited, and of those above it the nearest one of higher
    /// priority is the second choice.
    #[test]
    fn ancestors_speak_for_a_device() -> Result {
        let top = TestDevice::new(c"dbc_test_top", None)?;
        let middle = TestDevice::new(c"dbc_test_middle", Some(&top))?;
        let parent = TestDevice::new(c"dbc_test_above", Some(&middle))?;
        let child = TestDevice::new(c"dbc_test_below", Some(&parent))?;
        let classes = || {
            let needs = needs(child.bound()).ok_or(EIO)?;
            let by = |choice| needs.by(choice).placement.access_mask;
            Ok::<_, Error>((by(Choice::First), by(Choice::Second)))
        };
        assert_eq!(classes()?, (u64::MAX, u64::MAX));
        top.declare_classes(0b1000, 3)?;
        assert_eq!(classes()?, (0b1000, 0b1000));
        middle.declare_classes(0b0100, 2)?;
        assert_eq!(classes()?, (0b0100, 0b1100));
        parent.declare_classes(0b0010, 2)?;
        assert_eq!(classes()?, (0b0010, 0b1010));
        child.declare_classes(0b0001, 1)?;
        assert_eq!(classes()?, (0b0001, 0b0011));
        child.declare_classes(0b0001, 2)?;
        assert_eq!(classes()?, (0b0001, 0b1001));
        child.declare_classes(0b0001, 3)?;
        assert_eq!(classes()?, (0b0001, 0b0001));
        Ok(())
    }
}
