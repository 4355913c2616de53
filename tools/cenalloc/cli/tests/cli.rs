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
    os::unix::{fs::symlink, process::ExitStatusExt},
    path::Path,
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

const BUFFERS: &str = "\
id=17 inode=4711 name=\"frame\" size=8388608 state=backed class=any below=2^32 segments=1 align=4096 \
coherent=0 allocator=system-contig users=2 maps=1 kernel_maps=0 holders=1 waiting=0 late=1 \
relocations=3 refusals=2 refusal=\"edu 0000:00:05.0 needs addresses below 256 MiB, the memory is at \
0x140000000 and mapped by vivid.0; declare edu 0000:00:05.0 before vivid.0 maps\"
id=18 inode=4712 name=\"\" size=4096 state=empty class=any below=any segments=any align=1 coherent=0 \
allocator=- users=0 maps=0 kernel_maps=0 holders=0 waiting=0 late=0 relocations=0 refusals=0 \
refusal=\"\"
";

const DEVICES: &str = "\
buffer=17 device=\"vivid.0\" class=any below=2^32 segments=any align=1 coherent=0 segsize=65536 \
boundary=any priority=0 mapped=1 pinned=1 declared=0 second=0 late=1
buffer=17 device=\"scanout\" class=any below=any segments=1 align=4096 coherent=1 segsize=any \
boundary=2^22 priority=9 mapped=0 pinned=0 declared=1 second=1 late=0
";

const REFUSAL: &str = "\
buffer 16: gpu joins cam, which needs one contiguous range, and system gives no fewer than 512; boot \
with cma=64M
";

/// A directory as debugfs has it, with one of processes beside it.
fn recorded(buffers: &str, devices: &str, refusal: &str) -> TempDir {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    fs::write(path.join("buffers"), buffers).unwrap();
    fs::write(path.join("devices"), devices).unwrap();
    fs::write(path.join("refusal"), refusal).unwrap();
    let maps = "7f1200000000-7f1200800000 rw-s 00000000 00:0e 4711   /dmabuf:frame\n";
    for (pid, name, fds, maps) in [
        (20, "camera", &[5, 12], ""),
        (101, "show", &[], maps.repeat(2).as_str()),
    ] as [(i32, &str, &[i32], &str); 2]
    {
        let process = path.join(format!("proc/{pid}"));
        fs::create_dir_all(process.join("fd")).unwrap();
        fs::create_dir_all(process.join("fdinfo")).unwrap();
        for fd in fds {
            symlink("/dmabuf:frame", process.join(format!("fd/{fd}"))).unwrap();
            fs::write(
                process.join(format!("fdinfo/{fd}")),
                "pos:\t0\nino:\t4711\n",
            )
            .unwrap();
        }
        fs::write(process.join("maps"), maps).unwrap();
        fs::write(process.join("comm"), format!("{name}\n")).unwrap();
    }
    directory
}

fn cenalloc() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cenalloc"));
    command.env_clear().stdin(Stdio::null());
    command
}

fn run(directory: &Path, args: &[&str]) -> Output {
    let mut command = cenalloc();
    command.arg("--debugfs").arg(directory);
    command.arg("--procfs").arg(directory.join("proc"));
    command.args(args).output().unwrap()
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
    let debugfs = recorded(BUFFERS, DEVICES, REFUSAL);
    assert_eq!(
        ok(debugfs.path(), &["list"]),
        "\
ID  NAME    SIZE  STATE   ALLOCATOR      USERS  MAPS  HOLDERS  LATE  REFUSALS  NEEDS
18  -      4 KiB  empty   -                  0     0        0     0         0  any memory
17  frame  8 MiB  backed  system-contig      2     1        1     1         2  below 4 GiB, \
contiguous, aligned to 4 KiB
    vivid.0: below 4 GiB, segments of at most 64 KiB, mapped, kept out 1
    scanout: contiguous, not across 4 MiB, aligned to 4 KiB, without cache maintenance, priority 9, \
declared, second choice
    refused: edu 0000:00:05.0 needs addresses below 256 MiB, the memory is at 0x140000000 and mapped \
by vivid.0; declare edu 0000:00:05.0 before vivid.0 maps
2 buffers: 8196 KiB, 8 MiB of it with memory
"
    );
    let one = ok(debugfs.path(), &["list", "18"]);
    assert_eq!(one.lines().count(), 3);
    assert!(one.ends_with("any memory\n1 buffer: 4 KiB, 0 bytes of it with memory\n"));
    let empty = recorded("", "", "");
    assert_eq!(ok(empty.path(), &["list"]), "no buffers\n");
}

#[test]
fn a_list_in_another_order() {
    let debugfs = recorded(BUFFERS, DEVICES, REFUSAL);
    let list = |args: &[&str]| {
        ok(
            debugfs.path(),
            &[&["list", "-o", "id,late,pids"], args].concat(),
        )
    };
    let total = "2 buffers: 8196 KiB, 8 MiB of it with memory\n";
    let newest = format!("ID  LATE  PIDS\n18     0  -\n17     1  20,101\n{total}");
    let oldest = format!("ID  LATE  PIDS\n17     1  20,101\n18     0  -\n{total}");
    assert_eq!(list(&[]), newest);
    assert_eq!(list(&["--reverse"]), oldest);
    assert_eq!(list(&["--sort", "late"]), oldest);
    assert_eq!(list(&["--sort", "name"]), newest);
    let output = run(debugfs.path(), &["list", "--columns", "id,nmae"]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("'nmae'") && error.contains("kernel-maps"),
        "{error}"
    );
}

#[test]
fn who_has_it() {
    let debugfs = recorded(BUFFERS, DEVICES, REFUSAL);
    let text = ok(debugfs.path(), &["list", "--pids"]);
    assert!(text.contains("\n    processes: 20 camera (fd 5 12), 101 show (2 mappings)\n"));
    assert!(text.contains("\n    no process has it open or mapped: the kernel keeps it\n"));
    let list = json_of(debugfs.path(), &["list", "--pids", "--json"]);
    assert_eq!(list["hidden_processes"], 0);
    assert_eq!(list["buffers"][0]["processes"], json!([]));
    assert_eq!(
        list["buffers"][1]["processes"],
        json!([
            {"pid": 20, "name": "camera", "fds": [5, 12], "maps": 0},
            {"pid": 101, "name": "show", "fds": [], "maps": 2},
        ])
    );
}

#[test]
fn a_list_for_programs() {
    let debugfs = recorded(BUFFERS, DEVICES, REFUSAL);
    let list = json_of(debugfs.path(), &["list", "--json"]);
    let buffers = list["buffers"].as_array().unwrap();
    assert_eq!(buffers.len(), 2);
    let any = json!({
        "access_mask": null, "max_address": null, "max_segments": null,
        "max_segment_size": null, "segment_boundary_mask": null, "alignment": null,
        "coherent": false, "priority": 0,
    });
    assert_eq!(
        buffers[0],
        json!({
            "id": 18, "inode": 4712, "name": null, "size": 4096, "state": "empty", "caching": null,
            "needs": any, "allocator": null, "ranges": null, "recycled": null, "user_count": 0,
            "map_count": 0, "kernel_maps": 0, "holds": null, "holders": 0, "waiting": 0,
            "late_refusals": 0, "relocations": 0, "left": null, "refusals": 0, "refusal": null,
            "users": [], "processes": null,
        })
    );
    let users = buffers[1]["users"].as_array().unwrap();
    assert_eq!(
        users[0],
        json!({
            "name": "vivid.0", "declared": false, "attached": null, "mapped": true,
            "pinned": true, "dynamic": null, "second_choice": false, "late_refusals": 1,
            "preferences": null, "unmet": null, "sources": null, "origin": null,
            "needs": {
                "access_mask": null, "max_address": 0xffff_ffffu32, "max_segments": null,
                "max_segment_size": 65536, "segment_boundary_mask": null, "alignment": null,
                "coherent": false, "priority": 0,
            },
        })
    );
    assert_eq!(users[1]["needs"]["segment_boundary_mask"], 0x3f_ffff);
    assert_eq!(users[1]["declared"], true);
    assert_eq!(users[1]["second_choice"], true);
    assert_eq!(users[1]["needs"]["coherent"], true);
    assert_eq!(users[1]["needs"]["priority"], 9);
    assert_eq!(buffers[1]["relocations"], 3);
    // Words alone: nothing is read out of them.
    let refusal = buffers[1]["refusal"].as_object().unwrap();
    assert!(refusal["text"]
        .as_str()
        .unwrap()
        .starts_with("edu 0000:00:05.0 needs"));
    let mut keys: Vec<_> = refusal.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "advice",
            "behind",
            "cause",
            "classes",
            "field",
            "found",
            "holder",
            "holders",
            "len",
            "max_address",
            "other",
            "sentence",
            "sequence",
            "text",
            "wanted",
            "when",
            "who",
        ]
    );
    assert!(refusal
        .iter()
        .all(|(key, value)| key == "text" || value.is_null()));
}

#[test]
fn why_a_buffer_refused() {
    let debugfs = recorded(BUFFERS, DEVICES, REFUSAL);
    assert_eq!(
        ok(debugfs.path(), &["why", "17"]),
        "\
buffer 17 \"frame\": 8 MiB, memory from system-contig
  last refusal, 2 of 2, as it was then: edu 0000:00:05.0 needs addresses below 256 MiB, the memory is at 0x140000000 \
and mapped by vivid.0; declare edu 0000:00:05.0 before vivid.0 maps
  1 came too late so far
  the memory was relocated 3 times
  now 1 holds the memory where it is
    vivid.0: below 4 GiB, segments of at most 64 KiB, mapped, kept out 1
"
    );
    let why = json_of(debugfs.path(), &["--json", "why", "17"]);
    assert_eq!((&why["buffer"], &why["gone"]), (&json!(17), &json!(false)));
    assert_eq!(why["now"]["id"], 17);
    assert_eq!(why["refusal"], why["now"]["refusal"]);
    assert_eq!(
        ok(debugfs.path(), &["why", "18"]),
        "buffer 18: 4 KiB, no memory yet\n  nobody was refused\n"
    );
    let why = json_of(debugfs.path(), &["why", "18", "--json"]);
    assert_eq!(why["refusal"], Value::Null);
}

#[test]
fn why_the_last_was_refused() {
    // The buffer is gone.
    let debugfs = recorded(BUFFERS, DEVICES, REFUSAL);
    assert_eq!(
        ok(debugfs.path(), &["why"]),
        "\
buffer 16 is gone; while it was there:
  gpu joins cam, which needs one contiguous range, and system gives no fewer than 512; boot with \
cma=64M
"
    );
    let why = json_of(debugfs.path(), &["why", "--json"]);
    assert_eq!((&why["buffer"], &why["gone"]), (&json!(16), &json!(true)));
    assert_eq!(why["now"], Value::Null);
    // It is there.
    let debugfs = recorded(BUFFERS, DEVICES, "buffer 17: edu has a bad day\n");
    let (all, one) = (
        ok(debugfs.path(), &["why"]),
        ok(debugfs.path(), &["why", "17"]),
    );
    assert_eq!(all, one);
    let quiet = recorded("", "", "");
    assert_eq!(ok(quiet.path(), &["why"]), "nobody was refused\n");
    let why = json_of(quiet.path(), &["why", "--json"]);
    assert_eq!(
        why,
        json!({"buffer": null, "gone": false, "refusal": null, "now": null})
    );
}

#[test]
fn words_are_shown_without_control_characters() {
    let debugfs = recorded("", "", "buffer 3: gpu wants the moon\x1b[2J\n");
    assert!(ok(debugfs.path(), &["why"]).ends_with("  gpu wants the moon?[2J\n"));
    let why = json_of(debugfs.path(), &["why", "--json"]);
    assert_eq!(why["refusal"]["text"], "gpu wants the moon\u{1b}[2J");
}

#[test]
fn all_of_a_buffer() {
    let debugfs = recorded(BUFFERS, DEVICES, REFUSAL);
    let text = ok(debugfs.path(), &["query", "17"]);
    for line in [
        "  inode 4711\n",
        "  needs together: below 4 GiB, contiguous, aligned to 4 KiB\n",
        "  user scanout: contiguous, not across 4 MiB, ",
        "  processes: 20 camera (fd 5 12), 101 show (2 mappings)\n",
        "  last refusal of 2, as it was then: edu 0000:00:05.0 needs addresses",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let query = json_of(debugfs.path(), &["query", "17", "--json"]);
    assert_eq!(query["processes"][1]["maps"], 2);
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
    assert!(error.contains("buffers: there is no inode"), "{error}");

    let debugfs = recorded(BUFFERS, DEVICES, REFUSAL);
    for command in ["list", "why", "query"] {
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
        "cenalloc: --len is 0: a buffer has at least one byte\n"
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
    let debugfs = recorded(BUFFERS, DEVICES, REFUSAL);
    let args = ["watch", "--count", "3", "--interval", "0.01"];
    let text = ok(debugfs.path(), &args);
    let list = ok(debugfs.path(), &["list"]) + "\n";
    assert_eq!(text, list.repeat(3));
    let lines = ok(
        debugfs.path(),
        &["watch", "--json", "-c2", "-i0.01", "18", "-p"],
    );
    assert_eq!(lines.lines().count(), 2);
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["buffers"][0]["id"], 18);
    }
}

#[test]
fn watching_until_a_signal() {
    let debugfs = recorded(BUFFERS, DEVICES, REFUSAL);
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
    let debugfs = recorded(BUFFERS, DEVICES, REFUSAL);
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
    for key in [None, Some(b'q')] {
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&name)
            .unwrap();
        let mut command = cenalloc();
        command.arg("--debugfs").arg(debugfs.path());
        command.args(["watch", "--interval", "3600"]);
        command.stdin(slave.try_clone().unwrap()).stdout(slave);
        let mut child = command.spawn().unwrap();
        // This process's own copies are closed, so that the end of the child is seen.
        drop(command);
        let mut terminal = File::from(terminal.try_clone().unwrap());
        let mut seen = String::new();
        let mut bytes = [0; 256];
        while !seen.ends_with("\x1b[J") {
            let count = terminal.read(&mut bytes).unwrap();
            seen += std::str::from_utf8(&bytes[..count]).unwrap();
        }
        match key {
            // Another key changes nothing.
            Some(key) => terminal.write_all(&[b'x', key]).unwrap(),
            None => kill_process(Pid::from_child(&child), Signal::INT).unwrap(),
        }
        assert_eq!(child.wait().unwrap().code(), Some(0));
        // Ends with an error where nobody has the terminal open any more.
        while let Ok(count @ 1..) = terminal.read(&mut bytes) {
            seen += std::str::from_utf8(&bytes[..count]).unwrap();
        }
        assert!(seen.starts_with("\x1b[?1049h\x1b[?25l\x1b[H"), "{seen:?}");
        assert!(seen.contains("(4 more lines)\x1b[K\x1b[J"), "{seen:?}");
        // The last picture stays, all of it.
        let (_, last) = seen.split_once("\x1b[?25h\x1b[?1049l").unwrap();
        let list = ok(debugfs.path(), &["list"]);
        assert_eq!(last.replace('\r', ""), list);
    }
}

#[test]
fn nobody_reads_any_more() {
    let debugfs = recorded(&BUFFERS.repeat(2000), DEVICES, REFUSAL);
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
    let (configfs, sysfs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let vivid = sysfs.path().join("bus/platform/devices/vivid.0");
    fs::create_dir_all(&vivid).unwrap();
    fs::create_dir_all(sysfs.path().join("bus/platform/drivers/vivid")).unwrap();
    symlink("../../drivers/vivid", vivid.join("driver")).unwrap();
    let toml = "[pci.\"0000:00:05.0\"]\nmax_address = \"2^28\"\n\n\
                [platform.\"vivid.0\"]\nmax_segments = 1\nalignment = \"64 KiB\"\n";
    let run = |args: &[&str], input: &str| {
        let mut command = policy(configfs.path(), args);
        command.arg("--sysfs").arg(sysfs.path());
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
            error + &String::from_utf8(output.stdout).unwrap(),
        )
    };
    let warning = "cenalloc: warning: pci:0000:00:05.0: there is no bus \"pci\" in /sys/bus\n";
    let done = warning.to_owned()
        + "+ pci:0000:00:05.0: below 256 MiB (no such bus)\n\
           + platform:vivid.0: contiguous, aligned to 64 KiB (driver vivid)\n";
    assert_eq!(run(&["load", "--dry-run"], toml), (Some(0), done.clone()));
    assert_eq!(run(&["show"], ""), (Some(0), "no policy\n".to_owned()));
    assert_eq!(run(&["load"], toml), (Some(0), done.clone()));
    assert_eq!(run(&["load"], toml), (Some(0), warning.to_owned()));
    let attribute = configfs.path().join("platform:vivid.0/alignment");
    assert_eq!(fs::read_to_string(attribute).unwrap(), "65536\n");
    assert_eq!(run(&["save"], ""), (Some(0), toml.to_owned()));

    let file = configfs.path().join("policy.toml");
    let name = file.to_str().unwrap();
    assert_eq!(run(&["save", name], ""), (Some(0), String::new()));
    assert_eq!(fs::read_to_string(&file).unwrap(), toml);
    assert_eq!(run(&["load", name], ""), (Some(0), warning.to_owned()));

    let (_, shown) = run(&["show", "--json"], "");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["devices"][0]["bus"], "pci");
    assert_eq!(shown["devices"][0]["device"], "0000:00:05.0");
    assert_eq!(shown["devices"][0]["needs"]["max_address"], 0xfff_ffff);
    assert_eq!(shown["devices"][0]["present"], false);
    assert_eq!(shown["devices"][1]["driver"], "vivid");
    fs::create_dir_all(sysfs.path().join("bus/pci")).unwrap();
    let (_, shown) = run(&["show"], "");
    assert!(
        shown.contains("pci       0000:00:05.0  no device now  below 256 MiB\n"),
        "{shown}"
    );

    // What changes, and what goes.
    let other = "[platform.\"vivid.0\"]\nmax_segments = 1\n";
    let changes = "- platform:vivid.0: contiguous, aligned to 64 KiB\n\
                   + platform:vivid.0: contiguous (driver vivid)\n\
                   - pci:0000:00:05.0: below 256 MiB\n";
    let args = ["load", "--dry-run", "--prune"];
    assert_eq!(run(&args, other), (Some(0), changes.to_owned()));
    let (_, json) = run(&[args.as_slice(), &["--json"]].concat(), other);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["warnings"], json!([]));
    assert_eq!(json["changes"][0]["before"]["alignment"], 65_536);
    assert_eq!(json["changes"][0]["after"]["alignment"], Value::Null);
    assert_eq!(json["changes"][1]["after"], Value::Null);

    let other = "[pci.\"0000:00:05.0\"]\nmax_address = \"2^28\"\nprefers_contiguous = true\n";
    let changes = "- pci:0000:00:05.0: below 256 MiB\n\
                   + pci:0000:00:05.0: below 256 MiB, prefers contiguous (no device now)\n";
    assert_eq!(
        run(&["load", "--dry-run"], other),
        (Some(0), changes.to_owned())
    );
    let (_, json) = run(&["load", "--dry-run", "--json"], other);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["changes"][0]["before"]["prefers_contiguous"], false);
    assert_eq!(json["changes"][0]["after"]["prefers_contiguous"], true);
    assert_eq!(json["changes"][0]["after"]["max_address"], 0xfff_ffff);

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

/// What a policy says of the recipes, on a machine that is compatible with `machine`.
fn recipe(machine: &str, configfs: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let procfs = TempDir::new().unwrap();
    fs::create_dir(procfs.path().join("device-tree")).unwrap();
    fs::write(procfs.path().join("device-tree/compatible"), machine).unwrap();
    let mut command = policy(configfs, args);
    let output = command.arg("--procfs").arg(procfs.path()).output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn recipes_are_policies_that_say_why() {
    let configfs = TempDir::new().unwrap();
    let (_, list, _) = recipe("", configfs.path(), &["recipes", "--json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    let recipes = list["recipes"].as_array().unwrap();
    let names: Vec<_> = recipes.iter().map(|one| one["name"].as_str()).collect();
    let boards = ["allwinner", "imx8m", "raspberry-pi-4", "rk3588"].map(Some);
    assert_eq!(names, boards);
    for one in recipes {
        let name = one["name"].as_str().unwrap();
        assert_eq!(one["here"], false);
        let (_, toml, _) = recipe("", configfs.path(), &["recipes", name]);
        // Each entry, and a recipe without one, has lines before it that say why.
        let lines: Vec<_> = toml.lines().collect();
        let entries = lines.iter().filter(|line| line.starts_with('[')).count();
        assert_eq!(one["entries"], entries, "{name}");
        for (line, next) in lines.iter().zip(&lines[1..]) {
            assert!(!next.starts_with('[') || line.starts_with('#'), "{next}");
        }
        assert!(entries > 0 || toml.contains("no entries, since "), "{name}");
        // Each is a file that loads, and nothing is left to do then.
        let configfs = TempDir::new().unwrap();
        let load = ["load", "--board", name];
        let (code, done, _) = recipe("", configfs.path(), &load);
        assert_eq!((code, done.lines().count()), (Some(0), entries), "{done}");
        let again = recipe("", configfs.path(), &load);
        assert_eq!((again.0, again.1), (Some(0), String::new()));
    }
}

#[test]
fn recipes_are_found_by_the_device_tree() {
    let configfs = TempDir::new().unwrap();
    let pi = "raspberrypi,4-model-b\0brcm,bcm2711\0";
    let (code, text, _) = recipe(pi, configfs.path(), &["recipes"]);
    assert_eq!(code, Some(0));
    for line in text.lines().skip(1) {
        assert_eq!(line.contains(" yes "), line.contains("bcm2711"), "{line}");
    }
    let load = ["load", "--board", "--dry-run"];
    let (code, done, _) = recipe(pi, configfs.path(), &load);
    assert_eq!(code, Some(0));
    assert!(
        done.contains("+ module:vc_sm_cma: contiguous (no device now)\n"),
        "{done}"
    );
    // Not by a part of a word.
    for other in ["", "brcm,bcm2711x\0", "brcm,bcm271\0"] {
        let (code, _, error) = recipe(other, configfs.path(), &load);
        assert_eq!(code, Some(1), "{other}");
        assert!(
            error.contains("there is no recipe for this machine"),
            "{error}"
        );
        assert!(error.contains("cenalloc policy recipes"), "{error}");
    }
    let (code, _, error) = recipe(pi, configfs.path(), &["recipes", "rk3588", "--json"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("policy recipes"), "{error}");
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
        assert!(script.contains("CENALLOC_COMPLETE"), "{shell}: {script}");
    }
    // What bash itself offers.
    let offered = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        let (last, before) = (words.len() - 1, words[words.len() - 2]);
        let script = format!(
            "PATH=${{0%/*}}:$PATH; eval \"$(cenalloc completion bash)\"; \
             COMP_TYPE=9 COMP_WORDS=({line}) COMP_CWORD={last}; \
             _clap_complete_cenalloc cenalloc '{}' '{before}'; echo \"${{COMPREPLY[@]}}\"",
            words[last]
        );
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", &script, env!("CARGO_BIN_EXE_cenalloc")]);
        let output = bash.output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(offered("cenalloc al"), "allocators\n");
    assert_eq!(
        offered("cenalloc test --access-mask cma,d"),
        "cma,dma-coherent\n"
    );
    assert_eq!(offered("cenalloc list --sort ker"), "kernel-maps\n");
    assert_eq!(
        offered("cenalloc policy load --board ras"),
        "raspberry-pi-4\n"
    );
    assert_eq!(offered("cenalloc policy recipes i"), "imx8m\n");
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
        "cenalloc-policy-recipes.1",
    ] {
        assert!(pages.iter().any(|name| name == page), "{page} in {pages:?}");
    }
    // The hidden command has none.
    assert!(!pages.iter().any(|name| name.contains("-man")), "{pages:?}");
    let page = |name| fs::read_to_string(directory.path().join(name)).unwrap();
    assert!(page("cenalloc-test.1").contains("max\\-address"));
    for name in ["cenalloc.1", "cenalloc-test.1"] {
        assert!(page(name).contains(".SH EXIT STATUS\n"), "{}", page(name));
    }
    for name in [
        "cenalloc-list.1",
        "cenalloc-policy-load.1",
        "cenalloc-policy-recipes.1",
    ] {
        for section in [".SH JSON\n", ".SH EXAMPLES\n"] {
            assert!(page(name).contains(section), "{}", page(name));
        }
    }
}

#[test]
fn keys_of_json_are_in_the_manual() {
    let debugfs = recorded(BUFFERS, DEVICES, REFUSAL);
    let list = json_of(debugfs.path(), &["list", "--pids", "--json"]);
    let output = cenalloc().args(["list", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let buffer = &list["buffers"][1];
    for object in [
        &list,
        buffer,
        &buffer["refusal"],
        &buffer["users"][0],
        &buffer["users"][0]["needs"],
        &buffer["processes"][0],
    ] {
        for key in object.as_object().unwrap().keys() {
            assert!(help.contains(key), "{key}");
        }
    }
}

#[test]
fn help_tells_the_exit_status() {
    let output = cenalloc().arg("--help").output().unwrap();
    assert!(String::from_utf8(output.stdout)
        .unwrap()
        .contains("3  of `cenalloc test`: there will never"));
    let output = cenalloc().arg("frobnicate").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
