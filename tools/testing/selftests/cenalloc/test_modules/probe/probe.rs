// SPDX-License-Identifier: GPL-2.0

//! A driver that has a buffer for its device, which it declares in its own probe.
//!
//! The core holds the lock of a device while that is probed: nothing that a driver does with its
//! own device may take it.

use cenalloc::Handle;
use core::ptr::NonNull;
use dma_buf_constraints::model::{
    Constraints,
    Placement, //
};
use kernel::{
    bindings,
    device::Core,
    driver,
    error::from_err_ptr,
    platform,
    prelude::*,
    str::CStrExt, //
};

module! {
    type: Module,
    name: "cenalloc_probe",
    authors: ["The cenalloc developers"],
    description: "Test driver that declares its device in probe",
    license: "GPL",
    imports_ns: ["DMA_BUF"],
    params: {
        device: u8 {
            default: 0,
            description: "Whether there is a device to be probed, 0 or 1",
        },
    },
}

/// The driver and its device, which match by this name.
const NAME: &CStr = c"cenalloc_probe";

/// The buffer of a device that is bound.
struct Driver {
    _handle: Handle,
}

impl platform::Driver for Driver {
    type IdInfo = ();
    type Data<'bound> = Self;

    fn probe<'bound>(
        device: &'bound platform::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self, Error> + 'bound {
        let handle = Handle::create(64 << 10, 0, NAME)?;
        let needs = Constraints {
            placement: Placement {
                max_segments: 1,
                ..Placement::ANY
            },
            ..Constraints::ANY
        };
        handle.declare(device.as_ref(), &needs)?;
        Ok(Self { _handle: handle })
    }
}

/// The device.
///
/// # Invariants
///
/// It is registered, and unregistered by the drop alone.
struct Device(NonNull<bindings::platform_device>);

// SAFETY: A device may be unregistered by any thread.
unsafe impl Send for Device {}
// SAFETY: No method takes a shared reference.
unsafe impl Sync for Device {}

impl Device {
    /// Registers the device, which does DMA below 4 GiB. `ENOMEM`; `EEXIST`.
    fn new() -> Result<Self> {
        let info = bindings::platform_device_info {
            name: NAME.as_char_ptr(),
            id: bindings::PLATFORM_DEVID_NONE,
            dma_mask: u32::MAX.into(),
            ..Zeroable::zeroed()
        };
        // SAFETY: What is not set of the information may be zero; it is copied.
        let raw = from_err_ptr(unsafe { bindings::platform_device_register_full(&info) })?;
        // INVARIANT: It was registered just now.
        Ok(Self(NonNull::new(raw).ok_or(ENOMEM)?))
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants it is registered, and nothing else unregisters it.
        unsafe { bindings::platform_device_unregister(self.0.as_ptr()) };
    }
}

/// The module. The driver comes first, so that the device is probed when it is registered.
#[pin_data]
struct Module {
    #[pin]
    _driver: driver::Registration<platform::Adapter<Driver>>,
    _device: Option<Device>,
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _driver <- driver::Registration::new(NAME, module),
            _device: match module_parameters::device.value() {
                0 => None,
                _ => Some(Device::new()?),
            },
        })
    }
}
