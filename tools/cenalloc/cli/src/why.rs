// SPDX-License-Identifier: GPL-2.0

//! Why somebody was refused.

use crate::{
    args::{Args, ByDescriptor, Which},
    failure::{Failure, Result},
    plain, query, show,
    view::{Refusal, Why},
};
use cenalloc::debugfs::Debugfs;
use std::fmt::Write;

/// `cenalloc why`.
pub(crate) fn why(args: &Args, which: &Which) -> Result<()> {
    let why = find(args, which)?;
    show(args, &why, || text(&why))
}

fn find(args: &Args, which: &Which) -> Result<Why> {
    let debugfs = Debugfs::new(&args.debugfs);
    if let Some(fd) = which.fd {
        let pid = which.pid;
        let query = query::by_descriptor(args, &ByDescriptor { fd, pid })?;
        return Ok(Why {
            buffer: Some(query.id),
            conflict: query.reason().as_ref().map(Refusal::from),
        });
    }
    if let Some(id) = which.buffer {
        let lines = debugfs.buffers()?;
        let line = lines.into_iter().find(|line| line.id == id);
        let line = line.ok_or_else(|| Failure::new(format!("there is no buffer {id}")))?;
        return Ok(Why {
            buffer: Some(id),
            conflict: line.conflict.as_deref().map(Refusal::read),
        });
    }
    let last = debugfs.last_conflict()?;
    Ok(Why {
        buffer: last.as_ref().map(|(id, _)| *id),
        conflict: last.map(|(_, text)| Refusal::read(&text)),
    })
}

fn text(why: &Why) -> String {
    let Some(id) = why.buffer else {
        return "nobody was refused\n".to_owned();
    };
    match &why.conflict {
        None => format!("buffer {id}: nobody was refused\n"),
        Some(refusal) => format!("buffer {id}: {}", refusal_text(refusal)),
    }
}

/// A refusal in words, and what to do, in lines.
pub(crate) fn refusal_text(refusal: &Refusal) -> String {
    let mut text = plain(&refusal.text) + "\n";
    for advice in &refusal.advice {
        let _ = write!(text, "\n{}\n", wrap(&plain(advice), 78));
    }
    text
}

/// Breaks a text between words, in lines of at most `width`.
fn wrap(text: &str, width: usize) -> String {
    let mut wrapped = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        let len = word.chars().count();
        if column > 0 && column + 1 + len > width {
            wrapped.push('\n');
            column = 0;
        } else if column > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped += word;
        column += len;
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn wrapping_moves_no_word(text in "[a-z]{1,12}( [a-z]{1,12}){0,20}", width in 12..80usize) {
            let wrapped = wrap(&text, width);
            prop_assert!(wrapped.lines().all(|line| line.len() <= width));
            prop_assert_eq!(wrapped.replace('\n', " "), text);
        }
    }
}
