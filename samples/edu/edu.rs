// SPDX-License-Identifier: GPL-2.0

//! An importer of dma-bufs with a real DMA engine: QEMU's edu device.
//!
//! The device is part of QEMU (`-device edu`) and was made to teach the writing of drivers. Its
//! engine moves bytes between RAM and 4096 bytes of memory of its own, and it drives 28 address
//! lines: what lies above 256 MiB it cannot reach, unless an IOMMU translates. `/dev/cenalloc_edu`
//! lets userspace attach a dma-buf, map it, and move bytes; the calls are documented in
//! `samples/cenalloc_edu.h`.
//!
//! QEMU makes it with another number of address lines where it is told to
//! (`-device edu,dma_mask=0xffffffff`). The device does not tell: the module's parameter
//! `dma_bits` does, 32 here.
//!
//! For authors of drivers it shows:
//!
//! - `edu.rs`: probe and unbind. The DMA mask, and that segments may have any length, is all that
//!   this device needs to declare; the exporter of a buffer reads it from `struct device`.
//! - `state.rs`: how attachments end with the device although files are still open.
//! - `engine.rs`: why a buffer stays mapped until the hardware has let go of it.
//! - `file.rs`: attach, map, use, unmap, detach.
//!
//! Device specification: <https://www.qemu.org/docs/master/specs/edu.html>.

use engine::Engine;
use kernel::{
    bindings,
    device::Core,
    dma::{
        Device,
        DmaMask, //
    },
    driver,
    io::Io,
    miscdevice::{
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
    pci,
    prelude::*, //
};
use state::{
    Edu,
    Online, //
};

mod engine;
mod file;
mod state;

module! {
    type: Module,
    name: "cenalloc_edu",
    authors: ["The cenalloc developers"],
    description: "Sample importer of dma-bufs for QEMU's edu device",
    license: "GPL",
    imports_ns: ["DMA_BUF"],
    params: {
        dma_bits: u32 {
            default: 28,
            description: "Address lines of the device, 1 to 64: the bits of QEMU's dma_mask",
        },
    },
}

/// The module: a PCI driver.
#[pin_data]
struct Module {
    #[pin]
    _driver: driver::Registration<pci::Adapter<EduDriver>>,
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        // SAFETY: The module's initialiser runs once, and before the driver can probe.
        unsafe { state::ONLINE.init() };
        try_pin_init!(Self {
            _driver <- driver::Registration::new(c"cenalloc_edu", module),
        })
    }
}

struct EduDriver;

// SAFETY: `pci::DeviceId` is a transparent wrapper of `pci_device_id`. Its constructors take
// vendors that have a name in `pci_ids.h` only; QEMU's first one has none.
const EDU: pci::DeviceId = unsafe {
    core::mem::transmute::<bindings::pci_device_id, pci::DeviceId>(bindings::pci_device_id {
        vendor: 0x1234,
        device: 0x11e8,
        // PCI_ANY_ID
        subvendor: !0,
        subdevice: !0,
        class: 0,
        class_mask: 0,
        driver_data: 0,
        override_only: 0,
    })
};

kernel::pci_device_table!(PCI_TABLE, <EduDriver as pci::Driver>::IdInfo, [(EDU, ())]);

/// What exists while the driver is bound to the device. Dropped from top to bottom.
#[pin_data]
struct EduData {
    #[pin]
    _misc: MiscDeviceRegistration<file::EduFile>,
    online: Online,
}

impl pci::Driver for EduDriver {
    type IdInfo = ();
    type Data<'bound> = EduData;

    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<EduData, Error> + 'bound {
        pin_init::pin_init_scope(move || {
            pdev.enable_device_mem()?;
            let bits = module_parameters::dma_bits.value();
            if !(1..=u64::BITS).contains(&bits) {
                return Err(EINVAL);
            }
            let mask = DmaMask::try_new(bits)?;
            // SAFETY: The device is being probed: nothing is mapped for it yet.
            unsafe { pdev.dma_set_mask_and_coherent(mask) }.inspect_err(|_| {
                dev_err!(
                    pdev,
                    "no memory up to {:#x}, all that it reaches\n",
                    mask.value()
                )
            })?;
            // The driver programs the engine for each segment; PCI's default is 64 KiB.
            // SAFETY: The device is being probed, so that nothing is mapped for it yet.
            unsafe { pdev.dma_set_max_seg_size(u32::MAX) };
            let bar = pdev.iomap_region_sized::<{ engine::BAR_SIZE }>(0, c"cenalloc_edu")?;
            if bar.read32(engine::IDENTIFICATION) & 0xff != 0xed {
                return Err(ENODEV);
            }
            pdev.set_master();
            let edu = Edu::new(pdev.into(), Engine::new(pdev.into(), bar.into_devres()?))?;
            Ok(try_pin_init!(EduData {
                online: Online::new(edu)?,
                _misc <- MiscDeviceRegistration::register(MiscDeviceOptions {
                    name: c"cenalloc_edu",
                }),
            }))
        })
    }

    fn unbind<'bound>(_pdev: &'bound pci::Device<Core<'_>>, this: Pin<&EduData>) {
        this.online.end();
    }
}

/// Bindings to `samples/cenalloc_edu.h`.
#[allow(
    clippy::all,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]
mod c {
    use kernel::bindings::*;

    include!(concat!(env!("CENALLOC_EDU_OBJ"), "/bindings_generated.rs"));
}
