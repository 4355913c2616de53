// SPDX-License-Identifier: GPL-2.0

//! Ranges of memory that are reserved for this module: by its parameter, if the kernel's command
//! line keeps the kernel from them, and by the device tree.

use super::super::extent::Extent;
use crate::c;
use core::ptr::NonNull;
use dma_buf_constraints::model::Name;
use kernel::{
    alloc::AllocError,
    bindings,
    page::PAGE_SIZE,
    prelude::*,
    str::{
        CStrExt,
        CString, //
    }, //
};

/// A physical address or length. It has 32 bits on some machines, for which [`extent`] checks.
type Address = bindings::resource_size_t;

fn wide(address: impl Into<u64>) -> u64 {
    address.into()
}

/// The cause for which a range cannot be used.
pub(super) struct Refusal {
    pub(super) error: Error,
    pub(super) why: &'static str,
}

impl Refusal {
    pub(super) fn new(error: Error, why: &'static str) -> Self {
        Self { error, why }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::new(error, "there is no memory for the bookkeeping")
    }
}

impl From<AllocError> for Refusal {
    fn from(error: AllocError) -> Self {
        Error::from(error).into()
    }
}

/// Returns the entries of the module's parameter. `EINVAL` where it is not UTF-8.
pub(super) fn parameter() -> Result<impl Iterator<Item = &'static str>> {
    // SAFETY: The call returns a string that does not change while the module is loaded, since the
    // parameter is read-only.
    let text = unsafe { CStr::from_char_ptr(c::cenalloc_carveout_parameter()) };
    let text = text.to_str().map_err(|_| {
        pr_err!("carveout: the parameter is no text\n");
        EINVAL
    })?;
    let entries = (!text.is_empty()).then(|| text.split(','));
    Ok(entries.into_iter().flatten())
}

/// Returns the nodes of the device tree.
pub(super) fn nodes() -> impl Iterator<Item = c::cenalloc_carveout> {
    (0..).map_while(|index| {
        let mut node = c::cenalloc_carveout {
            start: 0,
            len: 0,
            has_struct_pages: false,
            name: [0; c::CENALLOC_NAME_LEN as usize],
        };
        // SAFETY: `node` is a local variable.
        unsafe { c::cenalloc_carveout_node(index, &mut node) }.then_some(node)
    })
}

/// Returns the name of a node.
pub(super) fn node_name(node: &c::cenalloc_carveout) -> Name {
    Name::new(&node.name)
}

/// A range of memory that is reserved for this module: whole pages above address 0, less than 2^32.
pub(super) struct Reserved {
    pub(super) name: Name,
    pub(super) extent: Extent,
    /// Whether the memory has struct pages, and is in the kernel's direct map.
    pub(super) has_struct_pages: bool,
    /// Keeps drivers from the range, where the kernel does not do so itself.
    _region: Option<Region>,
}

impl Reserved {
    /// Takes the range of an entry, `NAME=SIZE@START` or `NAME`.
    ///
    /// `EINVAL` where it has another form, `ERANGE` where a number is too large, `ENOENT` where the
    /// command line reserved nothing of the name, `EBUSY` where the range is in use, `ENOMEM`.
    pub(super) fn of_entry(entry: &str) -> Result<Self, Refusal> {
        let Some((name, range)) = entry.split_once('=') else {
            let name = valid_name(entry)?;
            return Self::new(name, of_command_line(entry)?, true);
        };
        let name = valid_name(name)?;
        let (size, start) = range
            .split_once('@')
            .ok_or(Refusal::new(EINVAL, "is not NAME=SIZE@START"))?;
        let extent = extent(number(start)?, number(size)?)?;
        Self::new(name, extent, false)
    }

    /// Takes the range of a node.
    pub(super) fn of_node(node: &c::cenalloc_carveout) -> Result<Self, Refusal> {
        let extent = extent(node.start, node.len)?;
        Self::new(node_name(node), extent, node.has_struct_pages)
    }

    fn new(name: Name, extent: Extent, has_struct_pages: bool) -> Result<Self, Refusal> {
        // The kernel itself keeps drivers from memory that is in its direct map.
        let region = (!has_struct_pages)
            .then(|| Region::request(&extent))
            .transpose()?;
        Ok(Self {
            name,
            extent,
            has_struct_pages,
            _region: region,
        })
    }
}

/// Returns the range that the kernel's command line reserved as `reserve_mem=SIZE:ALIGN:NAME`.
fn of_command_line(name: &str) -> Result<Extent, Refusal> {
    let name = CString::try_from_fmt(fmt!("{name}"))?;
    let (mut start, mut len) = (0, 0);
    // SAFETY: A `CString` ends in NUL; both numbers are local variables.
    let found =
        unsafe { bindings::reserve_mem_find_by_name(name.as_char_ptr(), &mut start, &mut len) };
    if found == 0 {
        return Err(Refusal::new(
            ENOENT,
            "there is no reserve_mem= of that name",
        ));
    }
    extent(wide(start), wide(len))
}

fn valid_name(name: &str) -> Result<Name, Refusal> {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_valid) {
        return Err(Refusal::new(
            EINVAL,
            "has no name of letters, digits and -_.@",
        ));
    }
    if name.len() >= c::CENALLOC_NAME_LEN as usize {
        return Err(Refusal::new(EINVAL, "has a name that is too long"));
    }
    Ok(Name::new(name.as_bytes()))
}

/// Parses a number as on the kernel's command line: decimal or, with `0x`, hexadecimal, with `K`,
/// `M`, `G` or `T` behind it.
fn number(text: &str) -> Result<u64, Refusal> {
    let (text, shift) = match text.as_bytes().last().map(u8::to_ascii_uppercase) {
        Some(b'K') => (&text[..text.len() - 1], 10),
        Some(b'M') => (&text[..text.len() - 1], 20),
        Some(b'G') => (&text[..text.len() - 1], 30),
        Some(b'T') => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(Refusal::new(EINVAL, "has a number that is none"));
    }
    u64::from_str_radix(digits, radix)
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or(Refusal::new(ERANGE, "has a number that is too large"))
}

/// Returns the range of `len` bytes from `start` on, if it can be used.
fn extent(start: u64, len: u64) -> Result<Extent, Refusal> {
    let page = PAGE_SIZE as u64;
    if len == 0 {
        return Err(Refusal::new(EINVAL, "is empty"));
    }
    if start % page != 0 || len % page != 0 {
        return Err(Refusal::new(EINVAL, "is not of whole pages"));
    }
    if start == 0 {
        return Err(Refusal::new(EINVAL, "starts at address 0"));
    }
    let beyond = Refusal::new(ERANGE, "goes beyond what the machine can address");
    let iomem = &raw const bindings::iomem_resource;
    // SAFETY: `iomem_resource` is a static of the kernel, which sets its end at boot.
    let highest = wide(unsafe { (*iomem).end });
    match start.checked_add(len - 1) {
        Some(last) if last <= highest && last < u64::MAX && usize::try_from(len).is_ok() => {
            if len / page > u32::MAX.into() {
                return Err(Refusal::new(ERANGE, "has more than 2^32 - 1 pages"));
            }
            Ok(Extent { first: start, last })
        }
        _ => Err(beyond),
    }
}

/// A range of addresses that is requested in the kernel's list of resources as long as this lives.
///
/// # Invariants
///
/// Points to a resource that `__request_region` returned, and that only the drop releases.
struct Region(NonNull<bindings::resource>);

// SAFETY: A resource may be released by any thread.
unsafe impl Send for Region {}
// SAFETY: No method takes a shared reference.
unsafe impl Sync for Region {}

impl Region {
    /// Requests the range. `EBUSY` where the kernel or a driver uses any of it.
    fn request(extent: &Extent) -> Result<Self, Refusal> {
        let iomem = &raw mut bindings::iomem_resource;
        let (start, len) = (extent.first as Address, extent.len() as Address);
        // SAFETY: No requirements.
        let intersects = unsafe {
            bindings::region_intersects(
                start,
                len as usize,
                bindings::IORESOURCE_SYSTEM_RAM as c_ulong,
                bindings::IORES_DESC_NONE as c_ulong,
            )
        };
        if intersects != bindings::REGION_DISJOINT as c_int {
            return Err(Refusal::new(EBUSY, "is memory of the kernel"));
        }
        // SAFETY: `iomem` is the root of the list, and the name lives as long as the module, which
        // releases the region before it is unloaded.
        let region =
            unsafe { bindings::__request_region(iomem, start, len, c"cenalloc".as_char_ptr(), 0) };
        // INVARIANT: `__request_region` returned it.
        NonNull::new(region)
            .map(Self)
            .ok_or(Refusal::new(EBUSY, "is in use: see /proc/iomem"))
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let iomem = &raw mut bindings::iomem_resource;
        // SAFETY: By the type's invariants the resource was requested, and is not released before
        // this.
        unsafe {
            let (start, end) = ((*self.0.as_ptr()).start, (*self.0.as_ptr()).end);
            bindings::__release_region(iomem, start, end - start + 1);
        }
    }
}
