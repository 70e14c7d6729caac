//! Standard output and standard error that are closed, full, stuck or not read: every command does its work all the
//! same, and reports the failure where it still can.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;
use tempfile::{TempDir, tempdir};
use zoho_sidecar::emulator::Fault;

use crate::caller::{self, get_by_unix_socket};
use crate::sidecar::{Process, Sidecar, command, with_files};
use crate::zoho::{COUNT, USERS, Zoho};
use crate::{until, within};

/// The end of a pipe for a process, and the one to read from.
fn pipe() -> (std::io::PipeReader, Stdio) {
    let (reader, writer) = std::io::pipe().unwrap();
    (reader, writer.into())
}

/// A pipe whose reader has left.
fn closed_pipe() -> Stdio {
    pipe().1
}

/// An output on a disk without space.
fn full() -> Stdio {
    std::fs::File::options().write(true).open("/dev/full").unwrap().into()
}

/// A sidecar that serves on unix sockets, so that nothing has to be read from its output.
struct OnSockets {
    process: Process,
    directory: TempDir,
}

impl OnSockets {
    async fn start(zoho: &Zoho, output: Stdio, more: &str) -> Self {
        let directory = tempdir().unwrap();
        let files = Self::files(zoho, &directory, more);
        let process = Process::start(command(files).stdout(output));
        Self::listening(process, directory).await
    }

    fn files(zoho: &Zoho, directory: &TempDir, more: &str) -> Vec<String> {
        let path = directory.path().display();
        let sockets =
            format!("server.listen = [\"unix:{path}/proxy\"]\nadmin.listen = \"unix:{path}/admin\"");
        with_files("run", directory.path(), &[&zoho.config(), &sockets, more])
    }

    async fn listening(process: Process, directory: TempDir) -> Self {
        let sidecar = Self { process, directory };
        until("its sockets", async || tokio::net::UnixStream::connect(sidecar.socket("admin")).await.is_ok())
            .await;
        sidecar
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn get(&self, path: &str) -> u16 {
        get_by_unix_socket(&self.socket("proxy"), path).await.status
    }

    async fn is_alive(&self) -> bool {
        get_by_unix_socket(&self.socket("admin"), "/livez").await.status == 200
    }

    async fn stop(mut self) -> (Option<i32>, String) {
        self.process.signal("TERM");
        let code = self.process.end_unread().await;
        (code, self.process.end().await.errors)
    }
}

#[tokio::test]
async fn failing_calls_hits_and_the_end_need_no_reader_of_standard_error() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    let files = with_files("run", directory.path(), &[&zoho.config(), "log.buffer_lines = 2"]);
    let (unread, mut errors) = std::io::pipe().unwrap();
    // As much as a pipe takes: events are limited by their kind, and would not fill it.
    errors.write_all(&vec![b'\n'; 64 * 1024]).unwrap();
    let mut sidecar = Sidecar::listening(Process::start(command(files).stderr(errors)), directory).await;
    assert_eq!(sidecar.get(COUNT).await.status, 200);
    zoho.calls_always(Fault::Drop);

    for _ in 0..600 {
        assert_eq!(sidecar.get(USERS).await.status, 502);
    }

    assert!(sidecar.get(COUNT).await.header("cache-status").starts_with("zoho-sidecar; hit"));
    assert_eq!(caller::get(sidecar.admin(), "/livez").await.status, 200);
    let dropped = sidecar.metric(r#"zoho_sidecar_log_lines_dropped_total{stream="events"}"#).await;
    assert!(dropped >= 1.0, "{dropped}");
    sidecar.signal("TERM");
    sidecar.process().close_output();
    assert_eq!(sidecar.process().end_unread().await, Some(0));
    drop(unread);
}

#[tokio::test]
async fn a_standard_error_without_a_reader_ends_no_background_task() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    zoho.next_mint(Fault::InternalError);
    let files = with_files("run", directory.path(), &[&zoho.config()]);
    let process = Process::start(command(files).stderr(closed_pipe()));
    let sidecar = Sidecar::listening(process, directory).await;

    sidecar.ready().await;

    assert_eq!(sidecar.get(COUNT).await.status, 200, "a token was minted after the failure was logged");
    assert_eq!(sidecar.stop().await.code, Some(0));
}

#[tokio::test]
async fn every_line_is_written_or_counted_as_lost_when_a_reader_pauses() {
    const REQUESTS: usize = 100;
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "log.buffer_lines = 5").await;
    let long = format!("/tenants/none/{}", "x".repeat(8000));
    for _ in 0..REQUESTS {
        assert_eq!(sidecar.get(&long).await.status, 404);
    }
    let counted = sidecar.metric(r#"zoho_sidecar_log_lines_dropped_total{stream="requests"}"#).await;

    let end = sidecar.stop().await;

    let lines: Vec<Value> = end.lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let written = lines.iter().filter(|line| line["path"].is_string()).count();
    let lost: u64 = lines.iter().filter_map(|line| line["lost"].as_u64()).sum();
    assert_eq!(written + usize::try_from(lost).unwrap(), REQUESTS);
    assert!(counted > 0.0 && lost > 0, "{counted} {lost}");
}

#[tokio::test]
async fn a_full_standard_output_is_reported_once_and_the_sidecar_serves_on() {
    let zoho = Zoho::start().await;
    let mut sidecar = OnSockets::start(&zoho, full(), "").await;
    sidecar.process.complains("standard output cannot be written").await;
    for _ in 0..20 {
        assert_eq!(sidecar.get(COUNT).await, 200);
    }
    assert!(sidecar.is_alive().await);
    let (code, errors) = sidecar.stop().await;
    assert_eq!((code, errors.matches("cannot be written").count()), (Some(0), 1), "{errors}");
    assert!(errors.contains("No space left on device"), "{errors}");
}

#[tokio::test]
async fn a_full_standard_error_is_reported_once_on_standard_output() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    let files = OnSockets::files(&zoho, &directory, "");
    let sidecar = OnSockets::listening(Process::start(command(files).stderr(full())), directory).await;
    assert_eq!(sidecar.get(COUNT).await, 200);

    sidecar.process.signal("TERM");
    let end = sidecar.process.end().await;

    let reports = end.lines.iter().filter(|line| line.contains("standard error cannot be written"));
    assert_eq!((end.code, reports.count()), (Some(0), 1), "{end:?}");
}

#[tokio::test]
async fn a_log_file_at_its_limit_of_size_goes_on_with_every_line_once_the_limit_is_gone() {
    const REQUESTS: usize = 40;
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    let path = directory.path().join("requests.log");
    let file = std::fs::File::options().append(true).create(true).open(&path).unwrap();
    let mut limited = tokio::process::Command::new("sh");
    limited.args(["-c", "ulimit -S -f 8; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_zoho-sidecar")]);
    limited.args(OnSockets::files(&zoho, &directory, "")).env_clear().kill_on_drop(true);
    limited.stdin(Stdio::null()).stdout(file).stderr(Stdio::piped());
    let mut sidecar = OnSockets::listening(Process::start(&mut limited), directory).await;
    for _ in 0..REQUESTS {
        assert_eq!(sidecar.get(COUNT).await, 200);
    }
    sidecar.process.complains("standard output cannot be written").await;
    assert!(sidecar.is_alive().await);
    let pid = Pid::from_raw(i32::try_from(sidecar.process.id()).unwrap()).unwrap();
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: None, maximum: None }).unwrap();
    let is_request = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["lost"].is_null(), "{line}");
        line["path"].is_string()
    };
    let whole = |text: &str| text.rfind('\n').map_or(String::new(), |end| text[..end].to_owned());
    until("all lines", async || {
        let text = whole(&std::fs::read_to_string(&path).unwrap());
        text.lines().filter(|line| is_request(line)).count() == REQUESTS
    })
    .await;

    let (code, errors) = sidecar.stop().await;
    assert_eq!((code, errors.matches("cannot be written").count()), (Some(0), 1), "{errors}");
}

#[tokio::test]
async fn a_non_blocking_output_gets_every_line_whole_and_is_waited_for_without_spinning() {
    const REQUESTS: usize = 100;
    let zoho = Zoho::start().await;
    let (mut reader, writer) = UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    let mut sidecar = OnSockets::start(&zoho, Stdio::from(OwnedFd::from(writer)), "").await;
    let long = format!("/tenants/none/{}", "x".repeat(8000));
    for _ in 0..REQUESTS {
        assert_eq!(sidecar.get(&long).await, 404);
    }
    let before = cpu_ticks(&sidecar.process);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let spent = cpu_ticks(&sidecar.process) - before;
    assert!(spent < 30, "{spent} of some 100 ticks");

    let reading = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    sidecar.process.signal("TERM");
    assert_eq!(sidecar.process.end_unread().await, Some(0));
    let text = within("the end of the output", reading).await.unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().filter(|line| line["path"].is_string()).count(), REQUESTS);
}

/// User and system time that the process has spent.
fn cpu_ticks(process: &Process) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

#[tokio::test]
async fn one_pipe_for_both_streams_has_only_whole_lines() {
    let zoho = Zoho::start().await;
    let directory = tempdir().unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let files = OnSockets::files(&zoho, &directory, "");
    let mut both = command(files);
    both.stdout(writer.try_clone().unwrap()).stderr(writer);
    let process = Process::start(&mut both);
    drop(both);
    let mut sidecar = OnSockets::listening(process, directory).await;
    zoho.calls_always(Fault::Drop);
    let long = format!("/crm/v8/{}", "x".repeat(7000));
    for _ in 0..50 {
        assert_eq!(sidecar.get(&long).await, 502);
    }
    sidecar.process.signal("TERM");
    let reading = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    assert_eq!(sidecar.process.end_unread().await, Some(0));
    let text = within("the end of the output", reading).await.unwrap();
    let (lines, report): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('{'));
    let of_the_configuration =
        |line: &&str| line.is_empty() || line.contains("(warning)") || line.starts_with("  ");
    assert!(report.iter().all(of_the_configuration), "{report:?}");
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().filter(|line| line["path"].is_string()).count(), 50);
    let of_events = |message: &'static str| lines.iter().filter(move |line| line["message"] == message);
    let left_out =
        of_events("events that came too often were left out").map(|line| line["left_out"].as_u64().unwrap());
    let (logged, left_out) = (of_events("a call to Zoho failed").count() as u64, left_out.sum::<u64>());
    assert!(logged >= 10 && logged + left_out == 50, "{logged} and {left_out}");
}

/// A configuration without problems and without warnings.
fn sound() -> (TempDir, String) {
    let directory = tempdir().unwrap();
    let secrets = directory.path().join("secret");
    std::fs::write(&secrets, "1000.made-up\n").unwrap();
    let path = directory.path().join("sound.toml");
    let secret = secrets.display();
    let text = format!(
        "state.directory = \"none\"\n[tenants.acme]\ndata_center = \"eu\"\nclient_id = \"1000.MADEUP\"\n\
         client_secret = {{ file = \"{secret}\" }}\nrefresh_token = {{ file = \"{secret}\" }}\n"
    );
    std::fs::write(&path, text).unwrap();
    (directory, path.display().to_string())
}

/// Each command that ends by itself, with its exit code and whether it prints to standard output.
fn commands(config: &str) -> Vec<(Vec<String>, i32, bool)> {
    let command = |line: &str, code, prints| {
        (line.split(' ').map(|word| word.replace("CONFIG", config)).collect(), code, prints)
    };
    vec![
        command("--help", 0, true),
        command("--version", 0, true),
        command("help run", 0, true),
        command("check --config CONFIG", 0, true),
        command("check --config /nowhere.toml", 1, false),
        command("run --config /nowhere.toml", 1, false),
        command("emulator --scenario /nowhere.toml", 1, false),
        command("purge --all --admin http://127.0.0.1:1", 1, false),
        command("no-such-command", 2, false),
        command("purge", 2, false),
    ]
}

async fn code_and_output(arguments: &[String], output: Stdio, errors: Stdio) -> (Option<i32>, String) {
    let end = Process::start(command(arguments).stdout(output).stderr(errors)).end().await;
    (end.code, format!("{}{}", end.lines.join("\n"), end.errors))
}

#[tokio::test]
async fn the_exit_code_of_a_command_whose_reader_has_left_is_that_of_its_work() {
    let (_files, config) = sound();
    for (arguments, code, _) in commands(&config) {
        let (ended, _) = code_and_output(&arguments, closed_pipe(), closed_pipe()).await;
        assert_eq!(ended, Some(code), "{arguments:?}");
        for (output, errors) in [(closed_pipe(), Stdio::piped()), (Stdio::piped(), closed_pipe())] {
            let (ended, text) = code_and_output(&arguments, output, errors).await;
            assert_eq!(ended, Some(code), "{arguments:?}: {text}");
            assert!(!text.contains("panic") && !text.contains("cannot be written"), "{arguments:?}: {text}");
        }
    }
}

#[tokio::test]
async fn a_full_output_is_reported_in_one_line_on_the_other_stream_and_is_a_failure() {
    let (_files, config) = sound();
    for (arguments, code, prints) in commands(&config) {
        let (output, errors) = if prints { (full(), Stdio::piped()) } else { (Stdio::piped(), full()) };
        let (ended, text) = code_and_output(&arguments, output, errors).await;
        let serves = ["run", "emulator"].contains(&arguments[0].as_str());
        assert_eq!(ended, Some(if serves { code } else { 1 }), "{arguments:?}: {text}");
        let expected =
            if prints { "standard output cannot be written" } else { "standard error cannot be written" };
        assert_eq!(text.matches(expected).count(), 1, "{arguments:?}: {text}");
        assert!(!text.contains("panic"), "{arguments:?}: {text}");
        let (ended, _) = code_and_output(&arguments, full(), full()).await;
        assert!(matches!(ended, Some(1 | 2)), "{arguments:?}: {ended:?}");
    }
}

#[tokio::test]
async fn commands_work_with_their_standard_streams_closed() {
    let (_files, config) = sound();
    for (arguments, code, _) in commands(&config) {
        for closed in [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"] {
            let script = format!("exec \"$0\" \"$@\" {closed}");
            let mut shell = tokio::process::Command::new("sh");
            shell.args(["-c", &script, env!("CARGO_BIN_EXE_zoho-sidecar")]).args(&arguments);
            shell.env_clear().kill_on_drop(true).stdin(Stdio::null());
            let end = Process::start(shell.stdout(Stdio::piped()).stderr(Stdio::piped())).end().await;
            assert_eq!(end.code, Some(code), "{arguments:?} {closed}: {end:?}");
            assert!(!end.errors.contains("panic"), "{arguments:?} {closed}: {end:?}");
        }
    }
}

#[tokio::test]
async fn a_file_at_its_limit_of_size_is_an_error_of_the_output_for_every_command() {
    let (_files, config) = sound();
    let directory = tempdir().unwrap();
    for (arguments, code, prints) in commands(&config) {
        let file = std::fs::File::create(directory.path().join("output")).unwrap();
        let mut limited = tokio::process::Command::new("sh");
        limited.args(["-c", "ulimit -f 0; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_zoho-sidecar")]);
        limited.args(&arguments).env_clear().kill_on_drop(true).stdin(Stdio::null());
        let end = Process::start(limited.stdout(file).stderr(Stdio::piped())).end().await;
        assert_eq!(end.code, Some(if prints { 1 } else { code }), "{arguments:?}: {end:?}");
        assert_eq!(
            end.errors.contains("standard output cannot be written"),
            prints,
            "{arguments:?}: {end:?}"
        );
    }
}

#[tokio::test]
async fn an_emulator_whose_output_is_full_or_unread_serves_on() {
    for (output, is_reported) in [(full(), true), (closed_pipe(), false)] {
        let mut emulator = command(["emulator", "--listen", "127.0.0.1:0"]);
        let mut process = Process::start(emulator.stdout(output));
        let address = listening_on(&process).await;
        if is_reported {
            process.complains("standard output cannot be written").await;
        }
        assert_eq!(caller::get(address, "/__emulator/ledger").await.status, 200);
        assert_eq!(process.errors_so_far().lines().count(), usize::from(is_reported));
        process.signal("TERM");
        assert_eq!(process.end_unread().await, Some(0));
    }
}

/// The TCP port on which a process listens, as the system knows it.
async fn listening_on(process: &Process) -> std::net::SocketAddr {
    let mut port = None;
    until("a port", async || {
        let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{}/fd", process.id()))
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
            .collect();
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        port = table.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let is_listening = fields[3] == "0A" && sockets.iter().any(|socket| socket == fields[9]);
            let (_, port) = fields[1].split_once(':')?;
            is_listening.then(|| u16::from_str_radix(port, 16).unwrap())
        });
        port.is_some()
    })
    .await;
    (std::net::Ipv4Addr::LOCALHOST, port.unwrap()).into()
}

#[tokio::test]
async fn the_tour_of_the_demo_needs_no_output_and_a_full_one_is_a_failure() {
    let tour = ["demo".to_owned(), "--once".to_owned()];
    assert_eq!(code_and_output(&tour, closed_pipe(), closed_pipe()).await.0, Some(0));
    let (code, text) = code_and_output(&tour, full(), Stdio::piped()).await;
    assert_eq!((code, text.lines().count()), (Some(1), 1), "{text}");
    assert!(text.contains("standard output cannot be written"), "{text}");
}
