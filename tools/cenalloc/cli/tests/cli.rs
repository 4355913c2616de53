// SPDX-License-Identifier: GPL-2.0

//! The program as a whole, on recorded files of debugfs and without the device.

use rustix::{
    process::{kill_process, Pid, Signal},
    pty::{grantpt, openpt, ptsname, unlockpt, OpenptFlags},
};
use serde_json::{json, Value};
use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

const BUFFERS: &str = "\
id=17 name=\"frame\" size=8388608 state=backed mask=any below=2^32 segments=1 align=4096 \
allocator=system-contig users=2 maps=1 early=1 moves=3 conflict=\"edu 0000:00:05.0 needs addresses below \
2^28, memory is at 0x1_4000_0000 and mapped by vivid.0\"
id=18 name=\"\" size=4096 state=empty mask=any below=any segments=any align=1 allocator=- users=0 \
maps=0 early=0 conflict=\"\"
";

const DEVICES: &str = "\
buffer=17 device=\"vivid.0\" mask=any below=2^32 segments=any align=1 segsize=65536 boundary=any \
mapped=1 declared=0 early=1
buffer=17 device=\"scanout\" mask=any below=any segments=1 align=4096 coherent=1 segsize=any \
boundary=2^22 priority=9 mapped=0 declared=1 second=1 early=0
";

const CONFLICT: &str = "\
buffer 16: gpu joins cam, which needs one contiguous segment, system gives no fewer than 512
";

/// A directory as debugfs has it.
fn recorded(buffers: &str, devices: &str, conflict: &str) -> TempDir {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("buffers"), buffers).unwrap();
    fs::write(directory.path().join("devices"), devices).unwrap();
    fs::write(directory.path().join("conflict"), conflict).unwrap();
    directory
}

fn cenalloc() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cenalloc"));
    command.env_clear().stdin(Stdio::null());
    command
}

fn run(directory: &Path, args: &[&str]) -> Output {
    let mut command = cenalloc();
    command.arg("--debugfs").arg(directory).args(args);
    command.output().unwrap()
}

/// Standard output of a run that must succeed.
fn ok(directory: &Path, args: &[&str]) -> String {
    let output = run(directory, args);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), error.as_str()), (Some(0), ""));
    String::from_utf8(output.stdout).unwrap()
}

fn json_of(directory: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&ok(directory, args)).unwrap()
}

/// Standard error of a run that must fail.
fn fails(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_list_for_people() {
    let debugfs = recorded(BUFFERS, DEVICES, CONFLICT);
    assert_eq!(
        ok(debugfs.path(), &["list"]),
        "\
ID  NAME    SIZE  STATE   ALLOCATOR      USERS  MAPS  EARLY  MOVES  NEEDS
17  frame  8 MiB  backed  system-contig      2     1      1      3  below 2^32, contiguous, \
aligned to 4 KiB
    vivid.0: below 2^32, segments of 64 KiB, mapped, kept out 1
    scanout: contiguous, not across 2^22, aligned to 4 KiB, without cache maintenance, priority 9, \
declared, second choice
    refused: edu 0000:00:05.0 needs addresses below 2^28, memory is at 0x1_4000_0000 and mapped by \
vivid.0
18  -      4 KiB  empty   -                  0     0      0      -  any memory
"
    );
    let one = ok(debugfs.path(), &["list", "18"]);
    assert_eq!(one.lines().count(), 2);
    assert!(one.ends_with("any memory\n"));
    let empty = recorded("", "", "");
    assert_eq!(ok(empty.path(), &["list"]), "no buffers\n");
}

#[test]
fn a_list_for_programs() {
    let debugfs = recorded(BUFFERS, DEVICES, CONFLICT);
    let list = json_of(debugfs.path(), &["list", "--json"]);
    let buffers = list["buffers"].as_array().unwrap();
    assert_eq!(buffers.len(), 2);
    let any = json!({
        "access_mask": null, "max_address": null, "max_segments": null,
        "max_segment_size": null, "segment_boundary_mask": null, "alignment": null,
        "coherent": false, "priority": 0,
    });
    assert_eq!(
        buffers[1],
        json!({
            "id": 18, "name": null, "size": 4096, "state": "empty", "needs": any,
            "allocator": null, "user_count": 0, "map_count": 0, "early": 0,
            "relocations": null, "conflict": null, "users": [],
        })
    );
    let users = buffers[0]["users"].as_array().unwrap();
    assert_eq!(users[0]["name"], "vivid.0");
    assert_eq!(users[0]["mapped"], true);
    assert_eq!(users[0]["declared"], false);
    assert_eq!(users[0]["attached"], Value::Null);
    assert_eq!(users[0]["needs"]["max_address"], 0xffff_ffffu64);
    assert_eq!(users[1]["needs"]["segment_boundary_mask"], 0x3f_ffff);
    assert_eq!(users[1]["declared"], true);
    assert_eq!(users[1]["second_choice"], true);
    assert_eq!(users[0]["second_choice"], Value::Null);
    assert_eq!(users[1]["needs"]["coherent"], true);
    assert_eq!(users[1]["needs"]["priority"], 9);
    assert_eq!(buffers[0]["relocations"], 3);
    let conflict = &buffers[0]["conflict"];
    assert_eq!(conflict["who"], "edu 0000:00:05.0");
    assert_eq!(conflict["field"], "max_address");
    assert_eq!(conflict["wanted"], 0xfff_ffff);
    assert_eq!(conflict["found"], 0x1_4000_0000u64);
    assert_eq!(conflict["with"], "memory");
    assert_eq!(conflict["other"], "vivid.0");
    assert_eq!(conflict["advice"].as_array().unwrap().len(), 2);
}

#[test]
fn why_a_buffer_refused() {
    let debugfs = recorded(BUFFERS, DEVICES, CONFLICT);
    let text = ok(debugfs.path(), &["why", "17"]);
    let (reason, advice) = text.split_once("\n\n").unwrap();
    assert_eq!(
        reason,
        "buffer 17: edu 0000:00:05.0 needs addresses below 2^28, memory is at 0x1_4000_0000 and \
         mapped by vivid.0"
    );
    let advice = advice.replace('\n', " ");
    assert!(advice.contains("before vivid.0 maps"), "{advice}");
    assert!(advice.contains("IOMMU"), "{advice}");

    let why = json_of(debugfs.path(), &["--json", "why", "17"]);
    assert_eq!(why["buffer"], 17);
    assert_eq!(why["conflict"]["field"], "max_address");
    assert_eq!(
        ok(debugfs.path(), &["why", "18"]),
        "buffer 18: nobody was refused\n"
    );
    let why = json_of(debugfs.path(), &["why", "18", "--json"]);
    assert_eq!(why, json!({"buffer": 18, "conflict": null}));
}

#[test]
fn why_the_last_was_refused() {
    let debugfs = recorded(BUFFERS, DEVICES, CONFLICT);
    let text = ok(debugfs.path(), &["why"]);
    assert!(text.starts_with("buffer 16: gpu joins cam, which needs one contiguous segment, "));
    let text = text.replace('\n', " ");
    assert!(text.contains("what gpu and cam need together"), "{text}");
    assert!(text.contains("behind an IOMMU"), "{text}");
    let quiet = recorded("", "", "");
    assert_eq!(ok(quiet.path(), &["why"]), "nobody was refused\n");
    let why = json_of(quiet.path(), &["why", "--json"]);
    assert_eq!(why, json!({"buffer": null, "conflict": null}));
}

#[test]
fn words_that_are_not_known_are_shown_as_they_are() {
    let debugfs = recorded("", "", "buffer 3: gpu wants the moon\x1b[2J\n");
    assert_eq!(
        ok(debugfs.path(), &["why"]),
        "buffer 3: gpu wants the moon?[2J\n"
    );
    let why = json_of(debugfs.path(), &["why", "--json"]);
    assert_eq!(why["conflict"]["text"], "gpu wants the moon\u{1b}[2J");
    assert_eq!(why["conflict"]["field"], Value::Null);
}

#[test]
fn what_cannot_be_read() {
    let nowhere = TempDir::new().unwrap();
    let error = fails(run(nowhere.path(), &["list"]));
    assert!(error.contains("modprobe cenalloc"), "{error}");
    let error = fails(run(nowhere.path(), &["--json", "list"]));
    let error: Value = serde_json::from_str(&error).unwrap();
    assert_eq!(error["error"]["errno"], 2);
    assert!(error["error"]["hint"].is_string());

    let odd = recorded("id=1\n", "", "");
    let error = fails(run(odd.path(), &["list"]));
    assert!(
        error.contains("buffers: \"id=1\" is not as expected"),
        "{error}"
    );

    let debugfs = recorded(BUFFERS, DEVICES, CONFLICT);
    for command in ["list", "why"] {
        let error = fails(run(debugfs.path(), &[command, "99"]));
        assert_eq!(error, "cenalloc: there is no buffer 99\n");
    }
}

#[test]
fn without_the_device() {
    let here = TempDir::new().unwrap();
    for args in [
        ["test", "--len", "4K"].as_slice(),
        &["allocators"],
        &["query", "--fd", "0"],
        &["why", "--fd", "0"],
    ] {
        let with = |device: &str| {
            let mut command = cenalloc();
            command.args(["--device", device]).args(args);
            fails(command.output().unwrap())
        };
        let missing = with(here.path().join("none").to_str().unwrap());
        assert!(missing.contains("modprobe cenalloc"), "{missing}");
        let other = with("/dev/null");
        assert!(other.contains("does not know"), "{other}");
    }
    // Nonsense is found before the kernel is asked.
    let mut command = cenalloc();
    command.args(["--device", "/dev/null", "test", "--len", "0"]);
    assert_eq!(
        fails(command.output().unwrap()),
        "cenalloc: a buffer has at least one byte\n"
    );
    let mut command = cenalloc();
    command.args([
        "--device",
        "/dev/null",
        "test",
        "--len",
        "4K",
        "--alignment",
        "3",
    ]);
    let error = fails(command.output().unwrap());
    assert_eq!(
        error,
        "cenalloc: alignment is 3, which is no power of two\n"
    );
}

#[test]
fn files_without_a_device_behind() {
    let output = cenalloc().args(["device", "/dev/null"]).output().unwrap();
    let error = fails(output);
    assert_eq!(
        error,
        "cenalloc: /dev/null: there is no device on a bus behind it\n"
    );
}

#[test]
fn watching_a_number_of_times() {
    let debugfs = recorded(BUFFERS, DEVICES, CONFLICT);
    let args = ["watch", "--count", "3", "--interval", "0.01"];
    let text = ok(debugfs.path(), &args);
    let list = ok(debugfs.path(), &["list"]) + "\n";
    assert_eq!(text, list.repeat(3));
    let lines = ok(debugfs.path(), &["watch", "--json", "-c2", "-i0.01", "18"]);
    assert_eq!(lines.lines().count(), 2);
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["buffers"][0]["id"], 18);
    }
}

#[test]
fn watching_until_a_signal() {
    let debugfs = recorded(BUFFERS, DEVICES, CONFLICT);
    for signal in [Signal::INT, Signal::TERM] {
        let mut command = cenalloc();
        command.arg("--debugfs").arg(debugfs.path());
        command.args(["watch", "--interval", "3600"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert!(line.starts_with("ID  NAME"), "{line}");
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = child.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (Some(0), None));
    }
}

#[test]
fn watching_on_a_terminal() {
    let debugfs = recorded(BUFFERS, DEVICES, CONFLICT);
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new())
        .unwrap()
        .into_string()
        .unwrap();
    let mut size = rustix::termios::tcgetwinsize(&terminal).unwrap();
    (size.ws_col, size.ws_row) = (40, 4);
    rustix::termios::tcsetwinsize(&terminal, size).unwrap();
    let slave = OpenOptions::new().write(true).open(name).unwrap();
    let mut command = cenalloc();
    command.arg("--debugfs").arg(debugfs.path());
    command.args(["watch", "--interval", "3600"]).stdout(slave);
    let mut child = command.spawn().unwrap();
    // This process's own copy is closed, so that the end of the child is seen.
    drop(command);
    let mut terminal = File::from(terminal);
    let mut seen = String::new();
    let mut bytes = [0; 256];
    while !seen.ends_with("\x1b[J") {
        let count = terminal.read(&mut bytes).unwrap();
        seen += std::str::from_utf8(&bytes[..count]).unwrap();
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // Ends with an error where nobody has the terminal open any more.
    while let Ok(count @ 1..) = terminal.read(&mut bytes) {
        seen += std::str::from_utf8(&bytes[..count]).unwrap();
    }
    assert!(seen.starts_with("\x1b[?1049h\x1b[?25l\x1b[H"), "{seen:?}");
    assert!(seen.contains("(3 more lines)\x1b[K\x1b[J"), "{seen:?}");
    assert!(seen.ends_with("\x1b[?25h\x1b[?1049l"), "{seen:?}");
}

#[test]
fn nobody_reads_any_more() {
    let debugfs = recorded(&BUFFERS.repeat(2000), DEVICES, CONFLICT);
    let mut command = cenalloc();
    command.arg("--debugfs").arg(debugfs.path()).arg("list");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), b"".as_slice())
    );
}

fn policy(configfs: &Path, args: &[&str]) -> Command {
    let mut command = cenalloc();
    command
        .arg("policy")
        .arg("--configfs")
        .arg(configfs)
        .args(args);
    command
}

#[test]
fn policies_are_loaded_and_saved() {
    let configfs = TempDir::new().unwrap();
    let toml = "[pci.\"0000:00:05.0\"]\nmax_address = \"2^28\"\n\n\
                [platform.\"vivid.0\"]\nmax_segments = 1\nalignment = \"64 KiB\"\n";
    let run = |args: &[&str], input: &str| {
        let mut command = policy(configfs.path(), args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap() + &error,
        )
    };
    let done = "pci:0000:00:05.0: below 2^28\n\
                platform:vivid.0: contiguous, aligned to 64 KiB\n";
    assert_eq!(
        run(&["load", "--dry-run"], toml),
        (Some(0), done.to_owned())
    );
    assert_eq!(run(&["show"], ""), (Some(0), "no policy\n".to_owned()));
    assert_eq!(run(&["load"], toml), (Some(0), done.to_owned()));
    assert_eq!(run(&["load"], toml), (Some(0), String::new()));
    let attribute = configfs.path().join("platform:vivid.0/alignment");
    assert_eq!(fs::read_to_string(attribute).unwrap(), "65536\n");
    assert_eq!(run(&["save"], ""), (Some(0), toml.to_owned()));

    let file = configfs.path().join("policy.toml");
    let name = file.to_str().unwrap();
    assert_eq!(run(&["save", name], ""), (Some(0), String::new()));
    assert_eq!(fs::read_to_string(&file).unwrap(), toml);
    assert_eq!(run(&["load", name], ""), (Some(0), String::new()));

    let (_, shown) = run(&["show", "--json"], "");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["devices"][0]["bus"], "pci");
    assert_eq!(shown["devices"][0]["device"], "0000:00:05.0");
    assert_eq!(shown["devices"][0]["needs"]["max_address"], 0xfff_ffff);

    // A file with a mistake changes nothing.
    let wrong = toml.replace("2^28", "2^20").replace("64 KiB", "64 KB");
    let (code, error) = run(&["load"], &wrong);
    assert_eq!(code, Some(1));
    assert!(
        error.contains("standard input: [platform.\"vivid.0\"] alignment: "),
        "{error}"
    );
    assert_eq!(run(&["save"], ""), (Some(0), toml.to_owned()));
}

#[test]
fn policies_without_configfs() {
    let here = TempDir::new().unwrap();
    let output = policy(&here.path().join("none"), &["show"])
        .output()
        .unwrap();
    let error = fails(output);
    assert!(error.contains("modprobe dma_buf_constraints"), "{error}");
}

#[test]
fn completion_completes() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = cenalloc().args(["completion", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(script.contains("allocators"), "{shell}");
        assert!(script.contains("max-address"), "{shell}");
    }
    // What bash itself offers after "cenalloc al".
    let script = "eval \"$(\"$0\" completion bash)\"; \
                  COMP_WORDS=(cenalloc al) COMP_CWORD=1; _cenalloc cenalloc al cenalloc; \
                  echo \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script, env!("CARGO_BIN_EXE_cenalloc")]);
    let output = bash.output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "allocators\n");
}

#[test]
fn manual_pages() {
    let directory = TempDir::new().unwrap();
    let mut command = cenalloc();
    assert!(command
        .arg("man")
        .arg(directory.path())
        .status()
        .unwrap()
        .success());
    let mut pages: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    for page in [
        "cenalloc.1",
        "cenalloc-why.1",
        "cenalloc-test.1",
        "cenalloc-policy-load.1",
    ] {
        assert!(pages.iter().any(|name| name == page), "{page} in {pages:?}");
    }
    // The hidden command has none.
    assert!(!pages.iter().any(|name| name.contains("-man")), "{pages:?}");
    let page = fs::read_to_string(directory.path().join("cenalloc-test.1")).unwrap();
    assert!(page.contains("max\\-address"), "{page}");
}

#[test]
fn help_tells_the_exit_status() {
    let output = cenalloc().arg("--help").output().unwrap();
    assert!(String::from_utf8(output.stdout)
        .unwrap()
        .contains("3 where there will never"));
    let output = cenalloc().arg("frobnicate").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
