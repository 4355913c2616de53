// SPDX-License-Identifier: GPL-2.0

//! What a shell offers after a part of a word.

use cenalloc::{debugfs::Debugfs, Classes};
use clap_complete::engine::CompletionCandidate;
use std::ffi::OsStr;

/// Returns the numbers of buffers, the newest first; none without the right to read debugfs.
pub(crate) fn buffers(current: &OsStr) -> Vec<CompletionCandidate> {
    let mut lines = Debugfs::default().buffers().unwrap_or_default();
    lines.sort_by_key(|line| std::cmp::Reverse(line.id));
    let candidates = lines.into_iter().enumerate().map(|(order, line)| {
        let name = line.name.unwrap_or_else(|| line.state.to_string());
        CompletionCandidate::new(line.id.to_string())
            .help(Some(name.into()))
            .display_order(Some(order))
    });
    begin(candidates, current)
}

/// Returns the classes of memory that have a name, after those that are there.
pub(crate) fn classes(current: &OsStr) -> Vec<CompletionCandidate> {
    let text = current.to_string_lossy();
    let before = text.rfind(',').map_or("", |comma| &text[..=comma]);
    let is_new = |name: &&str| !before.split(',').any(|word| word == *name);
    let candidates = Classes::names()
        .filter(is_new)
        .map(|name| CompletionCandidate::new(format!("{before}{name}")));
    begin(candidates, current)
}

/// Those that begin with `current`.
fn begin(
    candidates: impl Iterator<Item = CompletionCandidate>,
    current: &OsStr,
) -> Vec<CompletionCandidate> {
    let current = current.as_encoded_bytes();
    candidates
        .filter(|candidate| {
            candidate
                .get_value()
                .as_encoded_bytes()
                .starts_with(current)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_between_commas() {
        let offered = |current: &str| {
            let candidates = classes(OsStr::new(current));
            let values = candidates.iter().map(CompletionCandidate::get_value);
            let values: Vec<_> = values
                .map(|value| value.to_str().unwrap().to_owned())
                .collect();
            values.join(" ")
        };
        assert_eq!(offered("sys"), "system system-contig");
        assert_eq!(offered("cma,d"), "cma,dma-coherent");
        assert_eq!(offered("system,sys"), "system,system-contig");
        assert_eq!(offered("vram"), "");
    }
}
