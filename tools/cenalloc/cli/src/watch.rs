// SPDX-License-Identifier: GPL-2.0

//! All buffers, again and again.

use crate::{
    args::{Args, Watch},
    buffers, emit,
    failure::{Failure, Result},
};
use rustix::{
    event::{poll, PollFd, PollFlags, Timespec},
    termios::{isatty, tcgetattr, tcgetwinsize, tcsetattr, LocalModes, OptionalActions, Termios},
};
use signal_hook::{
    consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH},
    flag, low_level,
};
use std::{
    io::Read,
    os::unix::net::UnixStream,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
    time::{Duration, Instant},
};

/// `cenalloc watch`: until it has looked often enough, or a signal or q ends it.
pub(crate) fn watch(args: &Args, watch: &Watch) -> Result<()> {
    let mut signals =
        Signals::new().map_err(|error| Failure::from_io("signal handlers", &error))?;
    let stdout = std::io::stdout();
    let mut screen: Option<Screen> = None;
    let mut looks = 0;
    while !signals.stop() {
        let next = Instant::now() + watch.interval;
        let buffers = buffers::read(args, &watch.list)?;
        if args.json {
            let line = serde_json::to_string(&buffers).map_err(|e| Failure::new(e.to_string()))?;
            emit(&(line + "\n"))?;
        } else {
            let text = buffers::text(&buffers, &watch.list);
            if isatty(&stdout) {
                let screen = screen.get_or_insert_with(Screen::enter);
                let size = tcgetwinsize(&stdout).ok();
                let (columns, rows) = size.map_or((80, 24), |size| (size.ws_col, size.ws_row));
                emit(&frame(&text, columns.into(), rows.into()))?;
                screen.last = text;
            } else {
                emit(&(text + "\n"))?;
            }
        }
        looks += 1;
        if watch.count == Some(looks) {
            break;
        }
        // What is no terminal would never let it wait at its end.
        let has_keys = screen
            .as_ref()
            .is_some_and(|screen| screen.keyboard.is_some());
        if signals.wait(next, has_keys) == Some(b'q') {
            break;
        }
        if signals.suspend() {
            // Its own screen is not what the shell should show meanwhile.
            if let Some(mut screen) = screen.take() {
                screen.last.clear();
            }
            let _ = low_level::emulate_default_handler(SIGTSTP);
        }
    }
    Ok(())
}

/// The terminal's second screen, without a cursor and with keys that are seen at once, until it is
/// dropped. What it showed last is then written to the first one.
#[derive(Debug)]
struct Screen {
    last: String,
    /// What the keyboard's terminal was set to, if standard input is one.
    keyboard: Option<Termios>,
}

impl Screen {
    const ENTER: &'static str = "\x1b[?1049h\x1b[?25l";
    const LEAVE: &'static str = "\x1b[?25h\x1b[?1049l";

    fn enter() -> Self {
        let stdin = std::io::stdin();
        let keyboard = tcgetattr(&stdin).ok();
        if let Some(mut keys) = keyboard.clone() {
            keys.local_modes
                .remove(LocalModes::ICANON | LocalModes::ECHO);
            let _ = tcsetattr(&stdin, OptionalActions::Now, &keys);
        }
        let _ = emit(Self::ENTER);
        Self {
            last: String::new(),
            keyboard,
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(keyboard) = &self.keyboard {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, keyboard);
        }
        let _ = emit(&format!("{}{}", Self::LEAVE, self.last));
    }
}

/// What to write so that a terminal of that size shows `text` and nothing else.
fn frame(text: &str, columns: usize, rows: usize) -> String {
    let (columns, rows) = (columns.max(1), rows.max(1));
    let mut lines: Vec<_> = text
        .lines()
        .map(|line| line.chars().take(columns).collect::<String>())
        .collect();
    if lines.len() > rows {
        let left = lines.len() - (rows - 1);
        lines.truncate(rows - 1);
        lines.push(
            format!("({left} more lines)")
                .chars()
                .take(columns)
                .collect(),
        );
    }
    format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n"))
}

/// Signals that came: each wakes the wait.
#[derive(Debug)]
struct Signals {
    wake: UnixStream,
    stop: Arc<AtomicBool>,
    suspend: Arc<AtomicBool>,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let (wake, sender) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let signals = Self {
            wake,
            stop: Arc::default(),
            suspend: Arc::default(),
        };
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            flag::register(signal, signals.stop.clone())?;
        }
        flag::register(SIGTSTP, signals.suspend.clone())?;
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGCONT, SIGWINCH] {
            low_level::pipe::register(signal, sender.try_clone()?)?;
        }
        Ok(signals)
    }

    fn stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn suspend(&self) -> bool {
        self.suspend.swap(false, Ordering::Relaxed)
    }

    /// Waits for a signal, or for a key if `has_keys`, until `end`. Returns the key.
    fn wait(&mut self, end: Instant, has_keys: bool) -> Option<u8> {
        let stdin = std::io::stdin();
        let left = end.saturating_duration_since(Instant::now());
        let mut files = vec![PollFd::new(&self.wake, PollFlags::IN)];
        if has_keys {
            files.push(PollFd::new(&stdin, PollFlags::IN));
        }
        let _ = poll(&mut files, Some(&timespec(left)));
        let has_key = files
            .get(1)
            .is_some_and(|file| file.revents().contains(PollFlags::IN));
        let _ = self.wake.read(&mut [0; 64]);
        let mut key = [0];
        let is_read = has_key && rustix::io::read(&stdin, &mut key) == Ok(1);
        is_read.then_some(key[0])
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: duration.as_secs() as i64,
        tv_nsec: duration.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_fit_the_terminal() {
        assert_eq!(
            frame("ab\ncd\n", 80, 24),
            "\x1b[Hab\x1b[K\r\ncd\x1b[K\x1b[J"
        );
        assert_eq!(frame("abcd\n", 3, 24), "\x1b[Habc\x1b[K\x1b[J");
        let text = "1\n2\n3\n4\n";
        assert_eq!(
            frame(text, 80, 3),
            "\x1b[H1\x1b[K\r\n2\x1b[K\r\n(2 more lines)\x1b[K\x1b[J"
        );
        assert_eq!(frame(text, 80, 4).matches('\n').count(), 3);
        assert_eq!(frame(text, 0, 0), "\x1b[H(\x1b[K\x1b[J");
    }
}
